//! The server's face: webhooks, the admin API, health. The only room with axum and status codes.
//!
//! Decides nothing about defects: it reads requests, asks `dispatch`, and words the answers.

mod admin;
mod auth;
mod health;
mod problem;
pub mod sample_tracker;
mod serve;
mod webhook;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::routing::any;

use crate::config::Config;
use crate::dispatch::Dispatch;
use crate::secret::Secret;

pub use serve::serve;
use webhook::Ration;

#[cfg(fuzzing)]
pub(crate) use webhook::{Incoming, Meaning, meaning, read, token_and_path};

/// What every handler may use.
pub struct AppState {
    dispatch: Dispatch,
    config: Arc<Config>,
    /// Opens the admin API.
    admin_token: Secret,
    base_url: String,
    strangers: Ration,
}

impl AppState {
    /// `base_url` is what stands before `/hooks` in a webhook URL, without a slash at its end.
    #[must_use]
    pub fn new(
        dispatch: Dispatch,
        config: Arc<Config>,
        admin_token: Secret,
        base_url: String,
    ) -> Self {
        Self { dispatch, config, admin_token, base_url, strangers: Ration::default() }
    }
}

/// The routes of the main listener, and those of the admin listener where the config asks for one:
/// then the main listener knows nothing but `/hooks`.
pub fn routers(state: AppState) -> (Router, Option<Router>) {
    let separate = state.config.admin_listen.is_some();
    let prefix = state.config.public_url.as_ref().map(|url| url.path().trim_end_matches('/'));
    let prefix = prefix.unwrap_or_default().to_owned();
    let state = Arc::new(state);
    let hooks = hooks(&state, &prefix);
    let rest = health::routes(&state).merge(problem::routes()).merge(admin::routes(&state));
    if separate { (finish(hooks), Some(finish(rest))) } else { (finish(hooks.merge(rest)), None) }
}

/// `/hooks`, also below the prefix of `public_url`, since a proxy may pass it on or take it away.
fn hooks(state: &Arc<AppState>, prefix: &str) -> Router {
    let bare = Router::new()
        .route("/hooks", any(webhook::receive))
        .route("/hooks/", any(webhook::receive))
        .route("/hooks/{*below}", any(webhook::receive))
        .with_state(Arc::clone(state));
    if prefix.is_empty() {
        return bare;
    }
    Router::new().nest(prefix, bare.clone()).merge(bare)
}

/// Gives every answer that nobody worded its problem.
fn finish(routes: Router) -> Router {
    routes
        .fallback(async |_: Request| problem::Problem::not_found("page"))
        .method_not_allowed_fallback(async || problem::Problem::method_not_allowed())
        .layer(middleware::from_fn(problem::name_instance))
}
