//! Declares every route of the console, with the role that an account needs for it. A page without
//! a role cannot be declared.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;

use crate::http::access::{ADMIN, AUTHOR, OPERATOR, Routes, VIEWER};
use crate::http::{AppState, admin, assets, auth, session};

use super::connections::{
    actions, choices, consent, create, details, edit, first_event, list, report, try_it,
};
use super::{
    accounts, audit, connectors, defects, event, events, frame, overview, replay, theme,
    unrecognised,
};

/// All routes: the pages, the sign-in page, and the static files.
pub(crate) fn routes(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Router::new()
        .route("/sign-in", get(session::page).post(session::sign_in))
        .route("/static/{name}", get(assets::serve))
        .merge(pages(state))
        .layer(from_fn(frame::add_security_headers))
}

/// The pages for people who are signed in. Each route names the lowest role that may use it.
fn pages(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    let server = ADMIN.for_all_connections();
    let author = AUTHOR.for_all_connections();
    let routes = Routes::for_pages(state)
        .get("/", VIEWER, overview::show)
        .post("/sign-out", VIEWER, "session.end", session::sign_out)
        .post_read("/theme", VIEWER, theme::choose)
        .get("/connectors", VIEWER, connectors::list)
        .get("/connectors/{name}", VIEWER, connectors::show)
        .get("/connectors/{name}/remove", author, connectors::ask_to_remove)
        .post("/connectors/{name}/remove", author, "connector.remove", connectors::remove)
        .get("/connectors/{name}/rollback/{sha256}", author, connectors::ask_to_roll_back)
        .post(
            "/connectors/{name}/rollback/{sha256}",
            author,
            "connector.rollback",
            connectors::roll_back,
        )
        .get("/events", VIEWER, events::show)
        .get("/events/{id}", VIEWER, event::show)
        .get("/events/{id}/replay", OPERATOR, replay::show)
        .post("/events/{id}/replay", OPERATOR, "event.replay", replay::run)
        .get("/events/{id}/repeat", OPERATOR, replay::ask_to_repeat)
        .post("/events/{id}/repeat", OPERATOR, "event.repeat", replay::repeat)
        .get("/unrecognised", VIEWER, unrecognised::list)
        .get("/unrecognised/{id}/{kind}", ADMIN, unrecognised::ask_to_map)
        .post("/unrecognised/{id}/{kind}", ADMIN, "connection.map-path", unrecognised::map)
        .get("/defects", VIEWER, defects::list)
        .get("/defects/{id}", VIEWER, defects::show)
        .get("/defects/{id}/{decision}", OPERATOR, defects::ask)
        .post("/defects/{id}/{decision}", OPERATOR, "defect.resolve", defects::decide)
        .get("/defects/{id}/release", OPERATOR, defects::ask_to_release)
        .post("/defects/{id}/release", OPERATOR, "defect.release", defects::release)
        .get("/audit", server, audit::show)
        .get("/accounts", server, accounts::show)
        .post("/accounts", server, "token.create", accounts::create)
        .get("/accounts/{id}/revoke", server, accounts::ask_to_revoke)
        .post("/accounts/{id}/revoke", server, "token.revoke", accounts::revoke);
    connection_pages(routes)
        .into_router()
        .layer(from_fn_with_state(Arc::clone(state), admin::run_to_completion))
        // The upload route is merged after this layer, because the layer reads a whole body into
        // memory.
        .merge(upload_routes(state))
        .layer(from_fn_with_state(Arc::clone(state), frame::add_visitor))
        .layer(from_fn_with_state(Arc::clone(state), auth::find_account))
}

/// The route that receives an uploaded file. Its handler reads the body in parts, so the body has
/// no limit here.
fn upload_routes(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Routes::for_pages(state)
        .post("/connectors", AUTHOR.for_all_connections(), "connector.upload", connectors::upload)
        .into_router()
        .layer(DefaultBodyLimit::disable())
}

fn connection_pages(routes: Routes) -> Routes {
    let server = ADMIN.for_all_connections();
    routes
        .get("/connections", VIEWER, list::show)
        .get("/connections/new", server, create::show)
        .post("/connections/new", server, "connection.create", create::create)
        // The handler writes the audit entry itself, because not each request looks something up.
        .post_read("/connections/new/choices", server, choices::look_up_for_new)
        .get("/connections/{id}", VIEWER, details::show)
        .get("/connections/{id}/edit", ADMIN, edit::show)
        .post("/connections/{id}/edit", ADMIN, "connection.edit", edit::save)
        .post_read("/connections/{id}/choices", ADMIN, choices::look_up_for_stored)
        .post_read("/connections/{id}/preview", OPERATOR, report::preview)
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
