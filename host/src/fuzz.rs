//! Doors for the fuzz targets of `tests/fuzz`: each hands a stranger's input to the private code that
//! reads it, and hands back what that made of it.
//!
//! Exists only where cargo-fuzz compiles the host (`cfg(fuzzing)`). Never decides anything of its own,
//! never connects to anything.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use jiff::Timestamp;
use tokio::time::Instant;
use url::Url;

use crate::config::{Config, Webhook};
use crate::connector::{
    Access, CheckReport, Egress, Engine, HttpError, InvalidManifest, Manifest, Outbound,
    OutboundRequest, RawManifest, Sandbox, check_file, check_placeholders, place, target,
};
use crate::domain::{Event, EventId, EventKind, FailedTest, Limits, Origin, Outcome, SystemClock};
use crate::http::{Incoming, Meaning, meaning, read, token_and_path};

/// What the host read from one request below `/hooks`.
#[derive(Debug)]
pub struct Hook {
    /// What stood where a token stands.
    pub token: String,
    /// The project, where method and path ask for counts.
    pub project: Option<String>,
    /// The failed test, or status and words of the refusal.
    pub test: Result<FailedTest, (u16, String)>,
    /// The event of the kind that keeps most of a request.
    pub event: Event,
}

/// Reads a webhook request as if nothing were known of its path.
pub async fn webhook(request: Request<Vec<u8>>, config: &Webhook) -> Hook {
    let (parts, body) = request.into_parts();
    let (token, path) = token_and_path(parts.uri.path());
    let project = match meaning(&parts.method, &path, config) {
        Meaning::Kpis(project) => Some(project),
        _ => None,
    };
    let body = read(Body::from(body)).await;
    let (id, at) = (EventId::fresh(), (token.clone(), path));
    let incoming = Incoming::new(id, at, parts, body, Timestamp::UNIX_EPOCH, Instant::now());
    let test = incoming.body.failed_test(&incoming.headers);
    let test = test.map_err(|problem| (problem.status().as_u16(), problem.outcome().detail));
    let kind = EventKind::Unrecognised;
    let event = incoming.event(kind, None, None, Outcome::word("not-found"), None);
    Hook { token, project, test, event }
}

/// A guest's request as it would go over the wire.
#[derive(Debug)]
pub struct Leaving {
    /// Its method.
    pub method: Method,
    /// Whom it is sent to.
    pub origin: Origin,
    /// Its whole address.
    pub url: Url,
    /// Path and query.
    pub path: Uri,
    /// Its headers but for those of the exchange itself.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A guest's request that was admitted, before and after its secrets were placed.
#[derive(Debug)]
pub struct Admitted {
    /// As the guest may have it.
    pub bare: Leaving,
    /// With the connection's secrets.
    pub whole: Leaving,
}

/// Admits a guest's request; with a status and a location, the one that follows such a redirect.
///
/// # Errors
/// Why it is refused.
pub fn guest_request(
    access: &Access,
    method: Method,
    url: &str,
    headers: Vec<(String, String)>,
    body: Bytes,
    redirect: Option<(u16, &str)>,
) -> Result<Admitted, String> {
    let (connection, limits) = (&access.connection, Limits::default());
    let request = OutboundRequest { method, effect: None, url: url.to_owned(), headers, body };
    let words = |error: HttpError| error.to_string();
    let target = target(url, connection).map_err(words)?;
    let mut bare = Outbound::check(request, target, connection, &limits).map_err(words)?;
    check_placeholders(&bare, access).map_err(words)?;
    if let Some((status, location)) = redirect {
        bare = bare.redirected(status, location, connection).map_err(words)?;
        check_placeholders(&bare, access).map_err(words)?;
    }
    let whole = place(bare.clone(), access, None, &limits).map_err(words)?;
    let leaving = |outbound: Outbound| {
        let path = outbound.path_and_query().map_err(words)?;
        let Outbound { method, origin, url, headers, body, .. } = outbound;
        Ok::<_, String>(Leaving { method, origin, url, path, headers, body })
    };
    Ok(Admitted { bare: leaving(bare)?, whole: leaving(whole)? })
}

/// What a secret that is placed by placeholder reads as in the guest.
#[must_use]
pub fn placeholder<'a>(access: &'a Access, secret: &str) -> Option<&'a str> {
    access.placeholder(secret)
}

/// Reads a manifest with this settings schema.
///
/// # Errors
/// Why it cannot be taken.
pub fn manifest(settings: &str) -> Result<Manifest, InvalidManifest> {
    Manifest::read(&RawManifest {
        name: "fuzzed".to_owned(),
        version: "1.0.0".to_owned(),
        summary: String::new(),
        homepage: None,
        settings: settings.to_owned(),
        settle_seconds: 0,
    })
}

/// What `jackfield check` stands on, started once for many files.
pub struct Checker {
    config: Arc<Config>,
    engine: Arc<Engine>,
    sandbox: Arc<Sandbox>,
}

impl Checker {
    /// Starts the engine.
    ///
    /// # Errors
    /// What cannot be started.
    pub fn start(limits: Limits) -> Result<Self, String> {
        let config = Arc::new(Config { limits, ..Config::default() });
        let engine = Engine::start().map_err(|error| format!("no engine: {error:#}"))?;
        let engine = Arc::new(engine);
        let egress = Arc::new(Egress::new(None).map_err(|error| error.to_string())?);
        let clock = Arc::new(SystemClock);
        let sandbox = Sandbox::new(engine.clone(), egress, clock, config.concurrent_runs_host);
        Ok(Self { config, engine, sandbox: Arc::new(sandbox) })
    }

    /// `jackfield check FILE`, with the compiler in this process.
    ///
    /// # Errors
    /// Why the host would not take the file.
    pub async fn check(&self, file: &Path) -> Result<CheckReport, String> {
        let (config, engine) = (self.config.clone(), self.engine.clone());
        check_file(file, config, engine, self.sandbox.clone(), Arc::new(SystemClock)).await
    }
}
