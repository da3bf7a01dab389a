//! `PUT /connectors/{name}`: takes a connector's file, which may be much larger than the other
//! requests of the admin API. It is written to a temporary file as it arrives. The console's form
//! takes it the same way.

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
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
use crate::plugins::{FileKind, Uploaded};

use super::connectors::with_versions;
use super::{Id, Params, complete_in_task};

/// Maximum number of files that arrive at a time.
static UPLOADS: Semaphore = Semaphore::const_new(4);
/// How long the sender may send nothing.
const PART_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a file may take to arrive.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);

pub(crate) async fn upload(
    State(app): State<Arc<AppState>>,
    Id(name): Id,
    Params(UploadQuery { kind }): Params<UploadQuery>,
    request: Request,
) -> Result<(StatusCode, Json<ReplacedConnector>), Problem> {
    let name = connector_name(&name)?;
    let mut incoming = Incoming::begin(&app, &name)?;
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    let announced = announced.and_then(|it| it.parse().ok()).unwrap_or_default();
    incoming.expect(announced)?;
    let mut body = request.into_body();
    while let Some(frame) = incoming.next(body.frame()).await? {
        if let Ok(data) = frame.map_err(|_| Problem::incomplete_body())?.into_data() {
            incoming.add(&data)?;
        }
    }
    let kind = kind.map(|kind| match kind.0 {
        ConnectorFile::Component => FileKind::Component,
        ConnectorFile::Script => FileKind::Script,
    });
    install(&app, name, kind, incoming).await
}

/// The name of a connector that is uploaded.
pub(crate) fn connector_name(name: &str) -> Result<ConnectorName, Problem> {
    name.parse().map_err(|error: InvalidName| Problem::invalid_value("name", error.to_string()))
}

/// Checks a file that has arrived, puts it into the plugins folder, and waits until it serves.
pub(crate) async fn install(
    app: &AppState,
    name: ConnectorName,
    kind: Option<FileKind>,
    incoming: Incoming,
) -> Result<(StatusCode, Json<ReplacedConnector>), Problem> {
    let services = Arc::clone(&app.services);
    complete_in_task(app, async move {
        let Incoming { file, permit: _permit, .. } = incoming;
        let uploaded = services.plugins.upload(&name, kind, file).await?;
        let Uploaded { from, file } = uploaded;
        let status = if from.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        let file = std::path::absolute(&file).unwrap_or(file);
        let connector = with_versions(&services.plugins, name.as_str())?;
        Ok((status, Json(ReplacedConnector { from, file, connector })))
    })
    .await?
}

/// A file that arrives, in a temporary file without a name.
pub(crate) struct Incoming {
    file: File,
    received: u64,
    bytes_max: u64,
    deadline: Instant,
    permit: SemaphorePermit<'static>,
}

impl Incoming {
    /// Begins with an empty file.
    pub(crate) fn begin(app: &AppState, name: &ConnectorName) -> Result<Self, Problem> {
        let permit = UPLOADS.try_acquire().map_err(|_| Problem::from(&Refusal::Overloaded))?;
        let folder = app.services.config.now().data_folder().spool();
        // The folder is created when it is first needed.
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        let file = created.and_then(|()| tempfile::tempfile_in(&folder));
        Ok(Self {
            file: file.map_err(|error| cannot_write(&error))?,
            received: 0,
            bytes_max: app.services.plugins.upload_bytes_max(name),
            deadline: Instant::now() + UPLOAD_TIMEOUT,
            permit,
        })
    }

    /// Waits for the next part, but not for long.
    pub(crate) async fn next<T>(&self, part: impl Future<Output = T>) -> Result<T, Problem> {
        let until = self.deadline.min(Instant::now() + PART_TIMEOUT);
        timeout_at(until, part).await.map_err(|_| Problem::incomplete_body())
    }

    /// Refuses a file of this size if it is too large.
    fn expect(&self, bytes: u64) -> Result<(), Problem> {
        if bytes <= self.bytes_max {
            return Ok(());
        }
        let limit_kib = usize::try_from(self.bytes_max / 1024).unwrap_or(0);
        Err(Problem::payload_too_large(limit_kib))
    }

    /// Adds what arrived. A part is small, and the page cache takes it.
    pub(crate) fn add(&mut self, data: &[u8]) -> Result<(), Problem> {
        self.received += data.len() as u64;
        self.expect(self.received)?;
        self.file.write_all(data).map_err(|error| cannot_write(&error))
    }
}

fn cannot_write(error: &std::io::Error) -> Problem {
    Problem::store_unavailable(&format!(
        "cannot write a temporary file in the data folder: {error}"
    ))
}
