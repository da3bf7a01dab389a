//! Declares every route of the console, each with the lowest role that may use it. The sign-in page
//! and the static files need no role.

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

pub(crate) fn routes(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Router::new()
        .route("/sign-in", get(session::show_sign_in_page).post(session::sign_in))
        .route("/static/{name}", get(assets::serve))
        .merge(page_routes(state))
        .layer(from_fn(frame::add_security_headers))
}

fn page_routes(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    let server = ADMIN.for_all_connections();
    let author = AUTHOR.for_all_connections();
    let routes = Routes::for_pages(state)
        .get("/", VIEWER, overview::show_overview)
        .post("/sign-out", VIEWER, "session.end", session::sign_out)
        .post_without_change("/theme", VIEWER, theme::choose_theme)
        .get("/connectors", VIEWER, connectors::list_connectors)
        .get("/connectors/{name}", VIEWER, connectors::show_connector)
        .get("/connectors/{name}/remove", author, connectors::ask_to_remove_connector)
        .post("/connectors/{name}/remove", author, "connector.remove", connectors::remove_connector)
        .get("/connectors/{name}/rollback/{sha256}", author, connectors::ask_to_roll_back_connector)
        .post(
            "/connectors/{name}/rollback/{sha256}",
            author,
            "connector.rollback",
            connectors::roll_back_connector,
        )
        .get("/events", VIEWER, events::list_events)
        .get("/events/{id}", VIEWER, event::show_event)
        .get("/events/{id}/replay", OPERATOR, replay::show_replay_page)
        .post("/events/{id}/replay", OPERATOR, "event.replay", replay::run_replay)
        .get("/events/{id}/repeat", OPERATOR, replay::ask_to_repeat_request)
        .post("/events/{id}/repeat", OPERATOR, "event.repeat", replay::repeat_request)
        .get("/unrecognised", VIEWER, unrecognised::list_unrecognised_requests)
        .get("/unrecognised/{id}/{kind}", ADMIN, unrecognised::ask_to_map_path)
        .post("/unrecognised/{id}/{kind}", ADMIN, "connection.map-path", unrecognised::map_path)
        .get("/defects", VIEWER, defects::list_defects)
        .get("/defects/{id}", VIEWER, defects::show_defect)
        .get("/defects/{id}/{decision}", OPERATOR, defects::ask_to_decide)
        .post("/defects/{id}/{decision}", OPERATOR, "defect.resolve", defects::store_decision)
        .get("/defects/{id}/release", OPERATOR, defects::ask_to_release_defect)
        .post("/defects/{id}/release", OPERATOR, "defect.release", defects::release_defect)
        .get("/audit", server, audit::show_audit_log)
        .get("/accounts", server, accounts::show_accounts)
        .post("/accounts", server, "token.create", accounts::create_token)
        .get("/accounts/{id}/revoke", server, accounts::ask_to_revoke_token)
        .post("/accounts/{id}/revoke", server, "token.revoke", accounts::revoke_token);
    add_connection_routes(routes)
        .into_router()
        .layer(from_fn_with_state(Arc::clone(state), admin::run_to_completion))
        // The layer above reads a whole body into memory, so the upload route is merged after it.
        .merge(upload_routes(state))
        .layer(from_fn_with_state(Arc::clone(state), frame::add_visitor))
        .layer(from_fn_with_state(Arc::clone(state), auth::find_account))
}

/// The handler reads the body in parts and limits its size, so this route sets no limit.
fn upload_routes(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Routes::for_pages(state)
        .post(
            "/connectors",
            AUTHOR.for_all_connections(),
            "connector.upload",
            connectors::upload_connector,
        )
        .into_router()
        .layer(DefaultBodyLimit::disable())
}

fn add_connection_routes(routes: Routes) -> Routes {
    let server = ADMIN.for_all_connections();
    routes
        .get("/connections", VIEWER, list::list_connections)
        .get("/connections/new", server, create::show_new_connection)
        .post("/connections/new", server, "connection.create", create::create_connection)
        // The handler writes the audit entry itself, because a request that only enters a found
        // value needs no entry.
        .post_without_change(
            "/connections/new/choices",
            server,
            choices::look_up_for_new_connection,
        )
        .get("/connections/{id}", VIEWER, details::show_connection)
        .get("/connections/{id}/edit", ADMIN, edit::show_edit_form)
        .post("/connections/{id}/edit", ADMIN, "connection.edit", edit::save_changes)
        .post_without_change(
            "/connections/{id}/choices",
            ADMIN,
            choices::look_up_for_stored_connection,
        )
        .post_without_change("/connections/{id}/preview", OPERATOR, report::preview_report)
        .get("/connections/{id}/try", OPERATOR, try_it::show_try_page)
        .post("/connections/{id}/try", OPERATOR, "connection.try", try_it::try_connection)
        .get("/connections/{id}/consent", VIEWER, consent::show_consent_page)
        .post(
            "/connections/{id}/consent",
            ADMIN,
            "connection.accept",
            consent::accept_newest_version,
        )
        .get("/connections/{id}/first-event", VIEWER, first_event::show_first_event)
        .get("/connections/{id}/pause", OPERATOR, actions::ask_to_pause_connection)
        .post("/connections/{id}/pause", OPERATOR, "connection.pause", actions::pause_connection)
        .post("/connections/{id}/resume", OPERATOR, "connection.resume", actions::resume_connection)
        .get("/connections/{id}/rotate-token", ADMIN, actions::ask_to_rotate_token)
        .post(
            "/connections/{id}/rotate-token",
            ADMIN,
            "connection.rotate-token",
            actions::rotate_token,
        )
        .get("/connections/{id}/record", AUTHOR, actions::ask_to_record_bodies)
        .post("/connections/{id}/record", AUTHOR, "connection.record", actions::record_bodies)
        .post(
            "/connections/{id}/stop-recording",
            AUTHOR,
            "connection.stop-recording",
            actions::stop_recording,
        )
        .get("/connections/{id}/delete", ADMIN, actions::ask_to_delete_connection)
        .post("/connections/{id}/delete", ADMIN, "connection.delete", actions::delete_connection)
}
