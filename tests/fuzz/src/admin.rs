//! A server whose routes the fuzz targets call directly, without a TCP connection to its listener.
//!
//! The server never reaches a tracker, because its only connector, `tiny`, sends no requests.

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

use crate::{CONNECTOR, run_to_completion};

const ADMIN_TOKEN: &str = "the-token-of-the-fuzzed-admin";
/// A period that is longer than a target is usually fuzzed. So a background task with this period
/// usually does not run again after the start.
const LONG_PERIOD_MS: u64 = 3_600_000;
const READINESS_POLL_PERIOD: Duration = Duration::from_millis(10);

/// A server with one connector, `tiny`.
pub struct FuzzedServer {
    routes: TowerToHyperService<Router>,
    // The app has the lock of the data folder, which must not be released.
    _app: App,
    // The folder is removed when this value is dropped.
    _folder: TempDir,
}

/// An answer of the admin API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub text: String,
}

impl FuzzedServer {
    /// Starts the server, and waits until its connector is ready.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let app = run_to_completion(start_app(folder.path()));
        let (routes, _) = app.routers();
        let routes = TowerToHyperService::new(routes);
        let server = Self { routes, _app: app, _folder: folder };
        while !server.is_ready() {
            run_to_completion(async { tokio::time::sleep(READINESS_POLL_PERIOD).await });
        }
        server
    }

    fn is_ready(&self) -> bool {
        let answer = self.send(&Method::GET, "/connectors/tiny", "").expect("a valid request");
        let connector = serde_json::from_str::<Connector>(&answer.text);
        connector.is_ok_and(|connector| connector.status.0 == ConnectorStatus::Ready)
    }

    /// Sends a request with the admin token. Also asserts that the same request is refused without
    /// the token. Returns `None` if the path is not valid in a request.
    pub fn send(&self, method: &Method, path: &str, body: &str) -> Option<Answer> {
        let request = || Request::builder().method(method).uri(format!("/api/v1{path}"));
        let body = || Body::from(body.to_owned());
        // This request has no token. A wrong token would count as a failed login, and failed logins
        // are rate-limited.
        let unauthorized = self.call_route(request().body(body()).ok()?);
        let authorized = request().header("authorization", format!("Bearer {ADMIN_TOKEN}"));
        let answer = self.call_route(authorized.body(body()).ok()?);
        // A path outside the admin API is answered 404, with or without the token.
        let is_outside = unauthorized.status == 404 && answer.status == 404;
        assert!(unauthorized.status == 401 || is_outside, "{method} {path}: {unauthorized:?}");
        Some(answer)
    }

    /// Deletes every connection, so that an input does not depend on the connections of an earlier
    /// input.
    pub fn delete_connections(&self) {
        let all = self.send(&Method::GET, "/connections", "").expect("a valid request");
        let all: Value = serde_json::from_str(&all.text).expect("JSON");
        for connection in all["connections"].as_array().expect("a list") {
            let id = connection["id"].as_str().expect("an id");
            let path = format!("/connections/{id}?force=true");
            let deleted = self.send(&Method::DELETE, &path, "").expect("a valid request");
            assert_eq!(deleted.status, 204, "{}", deleted.text);
        }
    }

    fn call_route(&self, request: Request<Body>) -> Answer {
        run_to_completion(async {
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

async fn start_app(folder: &Path) -> App {
    let plugins = folder.join("plugins");
    std::fs::create_dir(&plugins).expect("the plugins folder is created");
    std::fs::write(plugins.join("tiny.wasm"), CONNECTOR).expect("the connector is written");
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
        data: folder.join("data"),
        plugins,
        rescan_ms: LONG_PERIOD_MS,
        sweep_ms: LONG_PERIOD_MS,
        ..Config::default()
    };
    let lock = DataLock::acquire(&config.data_folder(), Duration::ZERO).await.expect("the lock");
    let token = Secret::new(ADMIN_TOKEN.to_owned());
    App::start(config, lock, Some(token), PassedSockets::default())
        .await
        .expect("the server starts")
}
