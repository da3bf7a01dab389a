//! Every route of the console, and what an account needs for it.

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

/// Every page, with the page to sign in and the files of the pages.
pub(crate) fn routes(state: &Arc<AppState>) -> Router<Arc<AppState>> {
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
        .get("/unrecognised/{id}/{kind}", ADMIN, unrecognised::ask)
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
        // Not in the layer above, which reads a whole body into memory.
        .merge(page_uploads(state))
        .layer(from_fn_with_state(Arc::clone(state), frame::frame))
        .layer(from_fn_with_state(Arc::clone(state), auth::find_account))
}

/// The form with a file, which its handler reads itself.
fn page_uploads(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Routes::of_pages(state)
        .post("/connectors", AUTHOR.of_whole_server(), "connector.upload", connectors::upload)
        .into_router()
        .layer(DefaultBodyLimit::disable())
}

fn connection_pages(routes: Routes) -> Routes {
    let server = ADMIN.of_whole_server();
    routes
        .get("/connections", VIEWER, list::show)
        .get("/connections/new", server, create::show)
        .post("/connections/new", server, "connection.create", create::create)
        // Its handler records it, because it does not always look something up.
        .ask("/connections/new/choices", server, choices::of_new)
        .get("/connections/{id}", VIEWER, details::show)
        .get("/connections/{id}/edit", ADMIN, edit::show)
        .post("/connections/{id}/edit", ADMIN, "connection.edit", edit::save)
        .ask("/connections/{id}/choices", ADMIN, choices::of_stored)
        .ask("/connections/{id}/preview", OPERATOR, report::preview)
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
