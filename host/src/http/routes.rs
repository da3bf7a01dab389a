//! Every route and method of the server.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};

use super::admin::{self, connections, connectors, defects, events, report};
use super::problem::{self, Problem};
use super::{AppState, auth, health, webhook};

/// The routes of the main listener, and the routes of the admin listener if one is configured. With
/// an admin listener, the main listener has only `/hooks`.
pub fn routers(state: AppState) -> (Router, Option<Router>) {
    let config = state.services.config.now();
    let prefix = config.public_url.as_ref().map(|url| url.path().trim_end_matches('/'));
    let state = Arc::new(state);
    let hooks = hooks(&state, prefix.unwrap_or_default());
    let others = other_routes(&state);
    match config.admin_listen {
        Some(_) => (with_problems(Router::new()).merge(hooks), Some(with_problems(others))),
        None => (with_problems(others).merge(hooks), None),
    }
}

/// `/hooks`, with and without the path prefix of `public_url`: a proxy may keep the prefix or
/// remove it.
fn hooks(state: &Arc<AppState>, prefix: &str) -> Router {
    let hooks = Router::new()
        .route("/hooks", any(webhook::receive))
        .route("/hooks/", any(webhook::receive))
        .route("/hooks/{*below}", any(webhook::receive))
        .with_state(Arc::clone(state));
    if prefix.is_empty() { hooks } else { Router::new().nest(prefix, hooks.clone()).merge(hooks) }
}

fn other_routes(state: &Arc<AppState>) -> Router {
    Router::new()
        .route("/", get(health::front_page))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/problems/{code}", get(problem::explain))
        .nest("/api/v1", admin_api(state))
        .with_state(Arc::clone(state))
}

/// The admin API; every request needs the admin token.
fn admin_api(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Router::new()
        .route("/status", get(admin::status))
        .route("/connections", get(connections::list).post(connections::create))
        .route(
            "/connections/{id}",
            get(connections::show).patch(connections::edit).delete(connections::delete),
        )
        .route("/connections/{id}/rotate-token", post(connections::rotate_token))
        .route("/connections/{id}/pause", post(connections::pause))
        .route("/connections/{id}/resume", post(connections::resume))
        .route(
            "/connections/{id}/record",
            post(connections::record).delete(connections::stop_recording),
        )
        .route("/connections/{id}/try", post(connections::try_connection))
        .route("/connections/{id}/preview", post(report::preview))
        .route("/connections/{id}/accept", post(connections::accept))
        .route("/connections/{id}/hook/{*path}", any(connections::hook))
        .route("/connectors", get(connectors::list))
        .route("/connectors/{name}", get(connectors::show))
        .route("/connectors/{name}/rollback", post(connectors::rollback))
        .route("/events", get(events::list))
        .route("/events/{id}", get(events::show))
        .route("/events/{id}/recording", get(events::recording))
        .route("/defects", get(defects::list))
        .route("/defects/{id}", get(defects::show))
        .route("/defects/{id}/resolve", post(defects::resolve))
        .route("/defects/{id}/release", post(defects::release))
        .fallback(async || Problem::not_found("path in the admin API"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(from_fn_with_state(Arc::clone(state), admin::run_to_completion))
        .layer(from_fn_with_state(Arc::clone(state), auth::require_admin))
}

/// Turns the framework's own refusals into problems too, and completes every problem. Not for
/// `/hooks`: it accepts any method, completes its problems itself, and a layer costs each request.
fn with_problems(routes: Router) -> Router {
    routes
        .fallback(async |_: Request| Problem::not_found("page"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(from_fn(problem::add_instance))
}
