//! Declares every route of the server with its method, except the routes of the console. This
//! module never handles a request itself.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get};

use super::access::{ADMIN, AUTHOR, OPERATOR, Routes, VIEWER};
use super::admin::choices::list_for_new_connection;
use super::admin::{
    self, apply, audit, choices, connections, connectors, defects, events, replay, report, tokens,
    upload,
};
use super::problem::{self, Problem};
use super::{AppState, auth, health, metrics, openapi, prefix, same_site, sign_in_oidc, webhook};

/// The router of the main listener, and the router of the admin listener if one is configured.
pub type Routers = (Router, Option<Router>);

/// Creates the routers of the main listener and of the admin listener. If there is an admin
/// listener, the main listener serves only `/hooks`. `pages` creates the routes of the console.
pub fn routers(
    state: AppState,
    pages: impl FnOnce(&Arc<AppState>) -> Router<Arc<AppState>>,
) -> Routers {
    let config = state.services.config.current();
    let prefix = config.path_prefix();
    let state = Arc::new(state);
    let hooks = hook_routes(&state);
    let others = other_routes(&state).merge(pages(&state)).with_state(Arc::clone(&state));
    let others = others.layer(from_fn_with_state(Arc::clone(&state), same_site::check_host));
    match config.admin_listen {
        Some(_) => (
            prefix::with_prefix(prefix, with_problems(Router::new()).merge(hooks)),
            Some(prefix::with_prefix(prefix, with_problems(others))),
        ),
        None => (prefix::with_prefix(prefix, with_problems(others).merge(hooks)), None),
    }
}

fn hook_routes(state: &Arc<AppState>) -> Router {
    Router::new()
        .route("/hooks", any(webhook::receive))
        .route("/hooks/", any(webhook::receive))
        .route("/hooks/{*below}", any(webhook::receive))
        .with_state(Arc::clone(state))
}

fn other_routes(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/problems/{code}", get(problem::explain))
        .route("/sign-in/oidc", get(sign_in_oidc::begin))
        .route("/sign-in/oidc/callback", get(sign_in_oidc::finish))
        .merge(metrics_route(state))
        .nest("/api/v1", admin_api(state))
}

fn admin_api(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    let (author, server) = (AUTHOR.for_all_connections(), ADMIN.for_all_connections());
    Routes::for_api(state)
        .get("/status", VIEWER, admin::status)
        .get("/openapi.json", VIEWER, openapi::json)
        .get("/docs", VIEWER, openapi::page)
        .get("/export", server, apply::export)
        .post("/apply", server, "connections.apply", apply::apply)
        .get("/connections", VIEWER, connections::list)
        .post("/connections", server, "connection.create", connections::create)
        .get("/connections/{id}", VIEWER, connections::show)
        .patch("/connections/{id}", ADMIN, "connection.edit", connections::edit)
        .delete("/connections/{id}", ADMIN, "connection.delete", connections::delete)
        .post(
            "/connections/{id}/rotate-token",
            ADMIN,
            "connection.rotate-token",
            connections::rotate_token,
        )
        .post("/connections/{id}/pause", OPERATOR, "connection.pause", connections::pause)
        .post("/connections/{id}/resume", OPERATOR, "connection.resume", connections::resume)
        .post("/connections/{id}/record", AUTHOR, "connection.record", connections::record)
        .delete(
            "/connections/{id}/record",
            AUTHOR,
            "connection.stop-recording",
            connections::stop_recording,
        )
        .post("/connections/{id}/try", OPERATOR, "connection.try", connections::try_connection)
        .post_without_change("/connections/{id}/choices", OPERATOR, choices::list_for_connection)
        .post("/connections/{id}/paths", ADMIN, "connection.map-path", connections::map_path)
        .post_without_change("/connections/{id}/preview", OPERATOR, report::preview)
        .post("/connections/{id}/accept", ADMIN, "connection.accept", connections::accept)
        .any("/connections/{id}/hook/{*path}", OPERATOR, "connection.trigger", connections::hook)
        .get("/connectors", VIEWER, connectors::list)
        .get("/connectors/{name}", VIEWER, connectors::show)
        .delete("/connectors/{name}", author, "connector.remove", connectors::remove)
        // This look-up of values is recorded in the audit log, because it uses secrets that are not
        // stored, and reads the files and environment variables to which secrets refer.
        .post("/connectors/{name}/choices", server, "connector.look-up", list_for_new_connection)
        .post("/connectors/{name}/rollback", author, "connector.rollback", connectors::rollback)
        .get("/events", VIEWER, events::list)
        .get("/events/{id}", VIEWER, events::show)
        .get("/events/{id}/recording", OPERATOR, events::recording)
        .post("/events/{id}/replay", OPERATOR, "event.replay", replay::replay)
        .get("/defects", VIEWER, defects::list)
        .get("/defects/{id}", VIEWER, defects::show)
        .post("/defects/{id}/resolve", OPERATOR, "defect.resolve", defects::resolve)
        .post("/defects/{id}/release", OPERATOR, "defect.release", defects::release)
        .get("/account", VIEWER, tokens::account)
        .get("/audit", server, audit::list)
        .get("/tokens", server, tokens::list)
        .post("/tokens", server, "token.create", tokens::create)
        .delete("/tokens/{id}", server, "token.revoke", tokens::revoke)
        .into_router()
        .fallback(async || Problem::not_found("path in the admin API"))
        .layer(from_fn_with_state(Arc::clone(state), admin::run_to_completion))
        // Uploads are added after the layer `run_to_completion`, so that it does not apply to them:
        // the layer reads the whole body into memory.
        .merge(uploads(state))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(from_fn_with_state(Arc::clone(state), auth::require_account))
}

fn metrics_route(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Routes::for_api(state)
        .get("/metrics", VIEWER, metrics::show)
        .into_router()
        .layer(from_fn_with_state(Arc::clone(state), auth::require_account))
}

/// The route of uploads. Its handler reads the body itself.
fn uploads(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Routes::for_api(state)
        .put("/connectors/{name}", AUTHOR.for_all_connections(), "connector.upload", upload::upload)
        .into_router()
}

/// Answers unknown paths and methods with problems, and adds the body to every problem. The routes
/// of webhooks do not use this layer, because a layer costs time for each request. They do not need
/// it: they accept any method and complete their problems themselves.
fn with_problems(routes: Router) -> Router {
    routes
        .fallback(async |_: Request| Problem::not_found("page"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(from_fn(problem::add_instance))
}
