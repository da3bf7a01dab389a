//! Every route and method of the server.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get};

use super::access::{ADMIN, AUTHOR, OPERATOR, Routes, VIEWER};
use super::admin::{
    self, apply, audit, choices, connections, connectors, defects, events, replay, report, tokens,
    upload,
};
use super::console::connections::{
    self as on_connection, actions, choices as choice_parts, consent, create, details, edit,
    first_event, list, try_it,
};
use super::console::{
    accounts, assets, audit as audit_page, connectors as connector_pages, defects as defect_pages,
    event, events as event_pages, frame, overview, replay as replay_pages, theme, unrecognised,
};
use super::problem::{self, Problem};
use super::{AppState, auth, health, openapi, prefix, same_site, session, sign_in_oidc, webhook};

/// The routes of the main listener, and the routes of the admin listener if one is configured. With
/// an admin listener, the main listener has only `/hooks`.
pub fn routers(state: AppState) -> (Router, Option<Router>) {
    let config = state.services.config.now();
    let prefix = config.path_prefix();
    let state = Arc::new(state);
    let hooks = hooks(&state);
    let others = other_routes(&state);
    let others = others.layer(from_fn_with_state(Arc::clone(&state), same_site::check_host));
    match config.admin_listen {
        Some(_) => (
            prefix::below(prefix, with_problems(Router::new()).merge(hooks)),
            Some(prefix::below(prefix, with_problems(others))),
        ),
        None => (prefix::below(prefix, with_problems(others).merge(hooks)), None),
    }
}

fn hooks(state: &Arc<AppState>) -> Router {
    Router::new()
        .route("/hooks", any(webhook::receive))
        .route("/hooks/", any(webhook::receive))
        .route("/hooks/{*below}", any(webhook::receive))
        .with_state(Arc::clone(state))
}

fn other_routes(state: &Arc<AppState>) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/problems/{code}", get(problem::explain))
        .route("/sign-in/oidc", get(sign_in_oidc::begin))
        .route("/sign-in/oidc/callback", get(sign_in_oidc::finish))
        .nest("/api/v1", admin_api(state))
        .merge(for_browsers(state))
        .with_state(Arc::clone(state))
}

/// The admin API. Each route states what an account needs for it.
fn admin_api(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    let author = AUTHOR.of_whole_server();
    Routes::of_api(state)
        .get("/status", VIEWER, admin::status)
        .get("/openapi.json", VIEWER, openapi::json)
        .get("/docs", VIEWER, openapi::page)
        .get("/export", ADMIN.of_whole_server(), apply::export)
        .post("/apply", ADMIN.of_whole_server(), "connections.apply", apply::apply)
        .get("/connections", VIEWER, connections::list)
        .post("/connections", ADMIN.of_whole_server(), "connection.create", connections::create)
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
        .ask("/connections/{id}/choices", OPERATOR, choices::of_connection)
        .post("/connections/{id}/paths", ADMIN, "connection.map-path", connections::map_path)
        .ask("/connections/{id}/preview", OPERATOR, report::preview)
        .post("/connections/{id}/accept", ADMIN, "connection.accept", connections::accept)
        .any("/connections/{id}/hook/{*path}", OPERATOR, "connection.trigger", connections::hook)
        .get("/connectors", VIEWER, connectors::list)
        .get("/connectors/{name}", VIEWER, connectors::show)
        .delete("/connectors/{name}", author, "connector.remove", connectors::remove)
        .ask("/connectors/{name}/choices", ADMIN.of_whole_server(), choices::of_connector)
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
        .get("/audit", ADMIN.of_whole_server(), audit::list)
        .get("/tokens", ADMIN.of_whole_server(), tokens::list)
        .post("/tokens", ADMIN.of_whole_server(), "token.create", tokens::create)
        .delete("/tokens/{id}", ADMIN.of_whole_server(), "token.revoke", tokens::revoke)
        .into_router()
        .fallback(async || Problem::not_found("path in the admin API"))
        .layer(from_fn_with_state(Arc::clone(state), admin::run_to_completion))
        // Not in the layer above, which reads a whole body into memory.
        .merge(uploads(state))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(from_fn_with_state(Arc::clone(state), auth::require_account))
}

/// Routes whose handlers read the body themselves.
fn uploads(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Routes::of_api(state)
        .put("/connectors/{name}", AUTHOR.of_whole_server(), "connector.upload", upload::upload)
        .into_router()
}

/// The console, with the page to sign in and the files of its pages.
fn for_browsers(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Router::new()
        .route("/sign-in", get(session::page).post(session::sign_in))
        .route("/static/{name}", get(assets::serve))
        .merge(pages(state))
        .layer(from_fn(frame::limit_pages))
}

/// What a browser that is signed in may use. Each route states what an account needs for it.
fn pages(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    let server = ADMIN.of_whole_server();
    let author = AUTHOR.of_whole_server();
    let routes = Routes::of_pages(state)
        .get("/", VIEWER, overview::show)
        .post("/sign-out", VIEWER, "session.end", session::sign_out)
        .ask("/theme", VIEWER, theme::choose)
        .get("/connectors", VIEWER, connector_pages::list)
        .get("/connectors/{name}", VIEWER, connector_pages::show)
        .get("/connectors/{name}/remove", author, connector_pages::ask_to_remove)
        .post("/connectors/{name}/remove", author, "connector.remove", connector_pages::remove)
        .get("/connectors/{name}/rollback/{sha256}", author, connector_pages::ask_to_roll_back)
        .post(
            "/connectors/{name}/rollback/{sha256}",
            author,
            "connector.rollback",
            connector_pages::roll_back,
        )
        .get("/events", VIEWER, event_pages::show)
        .get("/events/{id}", VIEWER, event::show)
        .get("/events/{id}/replay", OPERATOR, replay_pages::show)
        .post("/events/{id}/replay", OPERATOR, "event.replay", replay_pages::run)
        .get("/events/{id}/repeat", OPERATOR, replay_pages::ask_to_repeat)
        .post("/events/{id}/repeat", OPERATOR, "event.repeat", replay_pages::repeat)
        .get("/unrecognised", VIEWER, unrecognised::list)
        .get("/unrecognised/{id}/{kind}", ADMIN, unrecognised::ask)
        .post("/unrecognised/{id}/{kind}", ADMIN, "connection.map-path", unrecognised::map)
        .get("/defects", VIEWER, defect_pages::list)
        .get("/defects/{id}", VIEWER, defect_pages::show)
        .get("/defects/{id}/{decision}", OPERATOR, defect_pages::ask)
        .post("/defects/{id}/{decision}", OPERATOR, "defect.resolve", defect_pages::decide)
        .get("/defects/{id}/release", OPERATOR, defect_pages::ask_to_release)
        .post("/defects/{id}/release", OPERATOR, "defect.release", defect_pages::release)
        .get("/audit", server, audit_page::show)
        .get("/accounts", server, accounts::show)
        .post("/accounts", server, "token.create", accounts::create)
        .get("/accounts/{id}/revoke", server, accounts::ask_to_revoke)
        .post("/accounts/{id}/revoke", server, "token.revoke", accounts::revoke);
    connection_pages(routes)
        .into_router()
        .layer(from_fn_with_state(Arc::clone(state), admin::run_to_completion))
        // Not in the layer above, which reads a whole body into memory.
        .merge(page_uploads(state))
        .layer(from_fn_with_state(Arc::clone(state), frame::frame))
        .layer(from_fn_with_state(Arc::clone(state), auth::find_account))
}

/// The form with a file, which its handler reads itself.
fn page_uploads(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Routes::of_pages(state)
        .post("/connectors", AUTHOR.of_whole_server(), "connector.upload", connector_pages::upload)
        .into_router()
        .layer(DefaultBodyLimit::disable())
}

fn connection_pages(routes: Routes) -> Routes {
    let server = ADMIN.of_whole_server();
    routes
        .get("/connections", VIEWER, list::show)
        .get("/connections/new", server, create::show)
        .post("/connections/new", server, "connection.create", create::create)
        .ask("/connections/new/choices", server, choice_parts::of_new)
        .get("/connections/{id}", VIEWER, details::show)
        .get("/connections/{id}/edit", ADMIN, edit::show)
        .post("/connections/{id}/edit", ADMIN, "connection.edit", edit::save)
        .ask("/connections/{id}/choices", ADMIN, choice_parts::of_stored)
        .ask("/connections/{id}/preview", OPERATOR, on_connection::report::preview)
        .get("/connections/{id}/try", OPERATOR, try_it::show)
        .post("/connections/{id}/try", OPERATOR, "connection.try", try_it::run)
        .get("/connections/{id}/consent", VIEWER, consent::show)
        .post("/connections/{id}/consent", ADMIN, "connection.accept", consent::accept)
        .get("/connections/{id}/first-event", VIEWER, first_event::show)
        .get("/connections/{id}/pause", OPERATOR, actions::ask_to_pause)
        .post("/connections/{id}/pause", OPERATOR, "connection.pause", actions::pause)
        .post("/connections/{id}/resume", OPERATOR, "connection.resume", actions::resume)
        .get("/connections/{id}/rotate-token", ADMIN, actions::ask_to_rotate)
        .post("/connections/{id}/rotate-token", ADMIN, "connection.rotate-token", actions::rotate)
        .get("/connections/{id}/record", AUTHOR, actions::ask_to_record)
        .post("/connections/{id}/record", AUTHOR, "connection.record", actions::record)
        .post(
            "/connections/{id}/stop-recording",
            AUTHOR,
            "connection.stop-recording",
            actions::stop_recording,
        )
        .get("/connections/{id}/delete", ADMIN, actions::ask_to_delete)
        .post("/connections/{id}/delete", ADMIN, "connection.delete", actions::delete)
}

/// Turns the framework's own refusals into problems too, and completes every problem. Not for
/// `/hooks`: it accepts any method, completes its problems itself, and a layer costs each request.
fn with_problems(routes: Router) -> Router {
    routes
        .fallback(async |_: Request| Problem::not_found("page"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(from_fn(problem::add_instance))
}
