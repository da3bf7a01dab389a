//! A whole server without a listener of its own that anybody asks: requests go straight to its routes.
//!
//! Never reaches a tracker: what would (`try`, `hook`) is not asked.

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use jackfield::app::App;
use jackfield::config::Config;
use jackfield::connector::ConnectorStatus;
use jackfield::http::{AppState, routers};
use jackfield::secret::Secret;
use serde_json::Value;
use tempfile::TempDir;

use crate::{CONNECTOR, wait};

const TOKEN: &str = "the-token-of-the-fuzzed-admin";
/// A background task's period, so long that it never comes.
const NEVER_MS: u64 = 3_600_000;

/// A server with one connector, `tiny`.
pub struct Admin {
    routes: TowerToHyperService<Router>,
    // Both only live on: the one keeps the lock of the data folder, the other the folder.
    _app: App,
    _folder: TempDir,
}

/// An answer of the admin API.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its content type.
    pub kind: String,
    /// Its body.
    pub text: String,
}

impl Admin {
    /// Starts the server and waits for its connector.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        wait(async { Self::started(folder.path()).await.assembled(folder) })
    }

    async fn started(folder: &Path) -> Started {
        let plugins = folder.join("plugins");
        std::fs::create_dir(&plugins).expect("a new folder");
        std::fs::write(plugins.join("tiny.wasm"), CONNECTOR).expect("room for the connector");
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            data: folder.join("data"),
            plugins,
            rescan_ms: NEVER_MS,
            sweep_ms: NEVER_MS,
            ..Config::default()
        };
        let token = Secret::new(TOKEN.to_owned());
        let app = App::start(config.clone(), Some(token)).await.expect("a server");
        while !app.dispatch().registry().list().iter().any(|it| it.status == ConnectorStatus::Ready)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Started { app, config }
    }

    /// Asks as the admin does, and holds that nobody else is answered.
    pub fn ask(&self, method: &Method, path: &str, body: &str) -> Option<Answer> {
        let request = |token: &str| {
            Request::builder()
                .method(method)
                .uri(format!("/api/v1{path}"))
                .header("authorization", format!("Bearer {token}"))
                .body(Body::from(body.to_owned()))
        };
        let stranger = self.answer(request("not-the-token").ok()?);
        let answer = self.answer(request(TOKEN).ok()?);
        // Where there is nothing, nobody is asked for a token.
        let is_nothing = stranger.status == 404 && answer.status == 404;
        assert!(stranger.status == 401 || is_nothing, "{method} {path}: {stranger:?}");
        Some(answer)
    }

    /// Removes every connection, so that one input leaves nothing to the next.
    pub fn clear(&self) {
        let all = self.ask(&Method::GET, "/connections", "").expect("a good request");
        let all: Value = serde_json::from_str(&all.text).expect("JSON");
        for connection in all["connections"].as_array().expect("a list") {
            let id = connection["id"].as_str().expect("an id");
            let path = format!("/connections/{id}?force=true");
            let gone = self.ask(&Method::DELETE, &path, "").expect("a good request");
            assert_eq!(gone.status, 204, "{}", gone.text);
        }
    }

    fn answer(&self, request: Request<Body>) -> Answer {
        wait(async {
            let Ok(response) = self.routes.call(request).await;
            let status = response.status().as_u16();
            let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
            let kind = kind.unwrap_or_default().to_owned();
            let body = response.into_body().collect().await.expect("a whole body").to_bytes();
            Answer { status, kind, text: String::from_utf8(body.to_vec()).expect("a text") }
        })
    }
}

struct Started {
    app: App,
    config: Config,
}

impl Started {
    fn assembled(self, folder: TempDir) -> Admin {
        let (routes, _) = routers(AppState::new(
            self.app.dispatch().clone(),
            self.config.into(),
            self.app.admin_token().clone(),
            "http://127.0.0.1".to_owned(),
        ));
        Admin { routes: TowerToHyperService::new(routes), _app: self.app, _folder: folder }
    }
}
