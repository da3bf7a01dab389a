//! Handler of `PUT /connectors/{name}`, which receives a connector's file.
//!
//! This module never keeps a whole file in memory: it writes each part to a temporary file.

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::api::{ConnectorFile, ReplacedConnector, UploadQuery};
use crate::domain::{ConnectorName, InvalidName, Refusal};
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::json::Json;
use crate::plugins::{FileKind, Uploaded};

use super::connectors::connector_with_versions;
use super::{Id, Params, complete_in_task};

/// Limits the number of files that are uploaded at the same time.
static UPLOAD_PERMITS: Semaphore = Semaphore::const_new(4);
/// Maximum time until the next part of a file arrives.
const PART_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum time until a whole file has arrived.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// Answers `PUT /connectors/{name}`.
pub(crate) async fn upload(
    State(app): State<Arc<AppState>>,
    Id(name): Id,
    Params(UploadQuery { kind }): Params<UploadQuery>,
    request: Request,
) -> Result<(StatusCode, Json<ReplacedConnector>), Problem> {
    let name = connector_name(&name)?;
    let mut incoming = IncomingFile::create(&app, &name)?;
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = length.and_then(|text| text.parse().ok()).unwrap_or_default();
    incoming.check_size(length)?;
    let mut body = request.into_body();
    while let Some(frame) = incoming.wait_for_part(body.frame()).await? {
        if let Ok(data) = frame.map_err(|_| Problem::incomplete_body())?.into_data() {
            incoming.append(&data)?;
        }
    }
    let kind = kind.map(|kind| match kind.0 {
        ConnectorFile::Component => FileKind::Component,
        ConnectorFile::Script => FileKind::Script,
    });
    install(&app, name, kind, incoming).await
}

pub(crate) fn connector_name(name: &str) -> Result<ConnectorName, Problem> {
    name.parse().map_err(|error: InvalidName| Problem::invalid_value("name", error.to_string()))
}

/// Checks a file that has arrived, writes it into the plugins folder, and waits until it is in use.
pub(crate) async fn install(
    app: &AppState,
    name: ConnectorName,
    kind: Option<FileKind>,
    incoming: IncomingFile,
) -> Result<(StatusCode, Json<ReplacedConnector>), Problem> {
    let services = Arc::clone(&app.services);
    complete_in_task(app, async move {
        let IncomingFile { file, permit: _permit, .. } = incoming;
        let uploaded = services.plugins.upload(&name, kind, file).await?;
        let Uploaded { from, file } = uploaded;
        let status = if from.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        let file = std::path::absolute(&file).unwrap_or(file);
        let connector = connector_with_versions(&services.plugins, name.as_str())?;
        Ok((status, Json(ReplacedConnector { from, file, connector })))
    })
    .await?
}

/// An upload in progress. The temporary file has no name, so the system deletes the file when it is
/// closed.
pub(crate) struct IncomingFile {
    file: File,
    received_bytes: u64,
    bytes_max: u64,
    deadline: Instant,
    /// One of [`UPLOAD_PERMITS`], held until the upload ends.
    permit: SemaphorePermit<'static>,
}

impl IncomingFile {
    /// Begins an upload with an empty temporary file. Refuses the upload if too many are in
    /// progress.
    pub(crate) fn create(app: &AppState, name: &ConnectorName) -> Result<Self, Problem> {
        let permit =
            UPLOAD_PERMITS.try_acquire().map_err(|_| Problem::from(&Refusal::Overloaded))?;
        let folder = app.services.config.current().data_folder().spool_folder();
        // Create the folder if necessary, because the server deletes it when it starts.
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        let file = created.and_then(|()| tempfile::tempfile_in(&folder));
        Ok(Self {
            file: file.map_err(|error| cannot_write(&error))?,
            received_bytes: 0,
            bytes_max: app.services.plugins.upload_bytes_max(name),
            deadline: Instant::now() + UPLOAD_TIMEOUT,
            permit,
        })
    }

    /// Waits for the next part of the file. Returns an error if the part, or the whole file, does
    /// not arrive in time.
    pub(crate) async fn wait_for_part<T>(
        &self,
        part: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        let until = self.deadline.min(Instant::now() + PART_TIMEOUT);
        timeout_at(until, part).await.map_err(|_| Problem::incomplete_body())
    }

    fn check_size(&self, bytes: u64) -> Result<(), Problem> {
        if bytes <= self.bytes_max {
            return Ok(());
        }
        let limit_kib = usize::try_from(self.bytes_max / 1024).unwrap_or(0);
        Err(Problem::payload_too_large(limit_kib))
    }

    /// Appends a part of the file, or refuses it if the file becomes too large. The write blocks
    /// the thread only briefly, because a part is small and the kernel stores it in the page cache.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), Problem> {
        self.received_bytes += data.len() as u64;
        self.check_size(self.received_bytes)?;
        self.file.write_all(data).map_err(|error| cannot_write(&error))
    }
}

fn cannot_write(error: &std::io::Error) -> Problem {
    Problem::store_unavailable(&format!(
        "cannot write a temporary file in the data folder: {error}"
    ))
}
