//! `PUT /connectors/{name}`: takes a connector's file, which may be much larger than the other
//! requests of the admin API. It is written to a temporary file as it arrives.

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::{ConnectorFile, ReplacedConnector, UploadQuery};
use crate::domain::Refusal;
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::plugins::{FileKind, Uploaded};

use super::connectors::with_versions;
use super::{Id, Params, complete_in_task};

/// Maximum number of files that arrive at a time.
static UPLOADS: Semaphore = Semaphore::const_new(4);
/// How long the sender may send nothing.
const PART_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a file may take to arrive.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);

pub(in crate::http) async fn upload(
    State(app): State<Arc<AppState>>,
    Id(name): Id,
    Params(UploadQuery { kind }): Params<UploadQuery>,
    request: Request,
) -> Result<(StatusCode, Json<ReplacedConnector>), Problem> {
    let connector = name.parse().map_err(|error: crate::domain::InvalidName| {
        Problem::invalid_value("name", error.to_string())
    })?;
    let _permit = UPLOADS.try_acquire().map_err(|_| Problem::from(&Refusal::Overloaded))?;
    let bytes_max = app.services.plugins.upload_bytes_max(&connector);
    let file = receive(&app, request, bytes_max).await?;
    let kind = kind.map(|kind| match kind.0 {
        ConnectorFile::Component => FileKind::Component,
        ConnectorFile::Script => FileKind::Script,
    });
    let services = Arc::clone(&app.services);
    complete_in_task(&app, async move {
        let uploaded = services.plugins.upload(&connector, kind, file).await?;
        let Uploaded { from, file } = uploaded;
        let status = if from.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        let file = std::path::absolute(&file).unwrap_or(file);
        let connector = with_versions(&services.plugins, &name)?;
        Ok((status, Json(ReplacedConnector { from, file, connector })))
    })
    .await?
}

/// Writes the body to a temporary file without a name.
async fn receive(app: &AppState, request: Request, bytes_max: u64) -> Result<File, Problem> {
    let too_large = || Problem::payload_too_large(usize::try_from(bytes_max / 1024).unwrap_or(0));
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    let announced = announced.and_then(|it| it.parse::<u64>().ok()).unwrap_or_default();
    if announced > bytes_max {
        return Err(too_large());
    }
    let folder = app.services.config.now().data_folder().spool();
    // The folder is created when it is first needed.
    let created = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    let file = created.and_then(|()| tempfile::tempfile_in(&folder));
    let file = file.map_err(|error| cannot_write(&error))?;
    let receiving = write_all(file, request.into_body(), bytes_max, too_large);
    timeout(UPLOAD_TIMEOUT, receiving).await.unwrap_or_else(|_| Err(incomplete()))
}

async fn write_all(
    mut file: File,
    mut body: Body,
    bytes_max: u64,
    too_large: impl Fn() -> Problem,
) -> Result<File, Problem> {
    let mut received = 0;
    loop {
        let frame = timeout(PART_TIMEOUT, body.frame()).await.map_err(|_| incomplete())?;
        let Some(frame) = frame else { return Ok(file) };
        let Ok(data) = frame.map_err(|_| incomplete())?.into_data() else { continue };
        received += data.len() as u64;
        if received > bytes_max {
            return Err(too_large());
        }
        // A part is small, and the page cache takes it.
        file.write_all(&data).map_err(|error| cannot_write(&error))?;
    }
}

fn incomplete() -> Problem {
    Problem::bad_request("the body did not arrive completely")
}

fn cannot_write(error: &std::io::Error) -> Problem {
    Problem::store_unavailable(&format!(
        "cannot write a temporary file in the data folder: {error}"
    ))
}
