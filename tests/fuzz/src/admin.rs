//! A server whose routes are called directly, without a connection to its listener.
//!
//! It never reaches a tracker, because the targets do not call the routes that would (`try`,
//! `hook`).

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use jackfield::api::{Connector, ConnectorStatus};
use jackfield::app::{App, DataLock, PassedSockets};
use jackfield::config::Config;
use jackfield::secret::Secret;
use serde_json::Value;
use tempfile::TempDir;

use crate::{CONNECTOR, wait};

const TOKEN: &str = "the-token-of-the-fuzzed-admin";
/// A background task with this period does not run during the fuzzing.
const NEVER_MS: u64 = 3_600_000;
const READINESS_POLL_PERIOD: Duration = Duration::from_millis(10);

/// A server with one connector, `tiny`.
pub struct Admin {
    routes: TowerToHyperService<Router>,
    // Keeps the lock of the data folder.
    _app: App,
    // Dropping it would remove the folder.
    _folder: TempDir,
}

/// An answer of the admin API.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its content type.
    pub content_type: String,
    /// Its body.
    pub text: String,
}

impl Admin {
    /// Starts the server and waits for its connector.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let app = wait(start(folder.path()));
        let (routes, _) = app.routers();
        let routes = TowerToHyperService::new(routes);
        let admin = Self { routes, _app: app, _folder: folder };
        while !admin.is_ready() {
            wait(async { tokio::time::sleep(READINESS_POLL_PERIOD).await });
        }
        admin
    }

    fn is_ready(&self) -> bool {
        let answer = self.send(&Method::GET, "/connectors/tiny", "").expect("a valid request");
        let connector = serde_json::from_str::<Connector>(&answer.text);
        connector.is_ok_and(|connector| connector.status.0 == ConnectorStatus::Ready)
    }

    /// Sends a request as the admin, and checks that it is refused without the admin token.
    pub fn send(&self, method: &Method, path: &str, body: &str) -> Option<Answer> {
        let request = || Request::builder().method(method).uri(format!("/api/v1{path}"));
        let body = || Body::from(body.to_owned());
        // The request has no token. A wrong token would count as a failed login, and failed logins
        // are rate-limited.
        let unauthorized = self.answer(request().body(body()).ok()?);
        let authorized = request().header("authorization", format!("Bearer {TOKEN}"));
        let answer = self.answer(authorized.body(body()).ok()?);
        // A path outside the admin API answers 404, with or without the token.
        let is_outside = unauthorized.status == 404 && answer.status == 404;
        assert!(unauthorized.status == 401 || is_outside, "{method} {path}: {unauthorized:?}");
        Some(answer)
    }

    /// Deletes every connection, so that no input depends on an earlier input.
    pub fn clear(&self) {
        let all = self.send(&Method::GET, "/connections", "").expect("a valid request");
        let all: Value = serde_json::from_str(&all.text).expect("JSON");
        for connection in all["connections"].as_array().expect("a list") {
            let id = connection["id"].as_str().expect("an id");
            let path = format!("/connections/{id}?force=true");
            let deleted = self.send(&Method::DELETE, &path, "").expect("a valid request");
            assert_eq!(deleted.status, 204, "{}", deleted.text);
        }
    }

    fn answer(&self, request: Request<Body>) -> Answer {
        wait(async {
            let Ok(response) = self.routes.call(request).await;
            let status = response.status().as_u16();
            let headers = response.headers();
            let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
            let content_type = content_type.unwrap_or_default().to_owned();
            let body = response.into_body().collect().await.expect("a complete body").to_bytes();
            let text = String::from_utf8(body.to_vec()).expect("text");
            Answer { status, content_type, text }
        })
    }
}

async fn start(folder: &Path) -> App {
    let plugins = folder.join("plugins");
    std::fs::create_dir(&plugins).expect("the plugins folder is created");
    std::fs::write(plugins.join("tiny.wasm"), CONNECTOR).expect("the connector is written");
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
        data: folder.join("data"),
        plugins,
        rescan_ms: NEVER_MS,
        sweep_ms: NEVER_MS,
        ..Config::default()
    };
    let lock = DataLock::acquire(&config.data_folder(), Duration::ZERO).await.expect("the lock");
    let token = Secret::new(TOKEN.to_owned());
    App::start(config, lock, Some(token), PassedSockets::default())
        .await
        .expect("the server starts")
}
