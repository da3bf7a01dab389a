//! Handlers of `/api/v1/connections`. In each path, `{id}` is the id or the name of a connection.
//!
//! No answer contains a secret, except the answers that issue a webhook URL.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::{
    AcceptQuery, Connection, ConnectionList, ConnectionStatus, CreateConnection, CreatedConnection,
    EditConnection, EditTestManager, EditWebhookAuth, EnumString, EraseQuery, ForceQuery, Grants,
    LastError, MapPath, MappedKind, RecordConnection, RotateToken, SecretGrant, TestManager, Text,
    Time, TryConnection, TryReport, TryStep, WebhookAuth, WebhookPaths,
};
use crate::connections::{
    self, ConnectionEdit, IssuedToken, NewConnection, TestManagerEdit, WebhookAuthEdit,
};
use crate::domain::{
    self, Account, CLIENT_CERT, CLIENT_KEY, ConnectionId, ConnectionRecord, ConnectorName,
    FailedTest, OnRecurrence, RECORD_S_MAX, TEST_MANAGER_SECRET, TestManagerSettings,
    WEBHOOK_SECRET, WEBHOOK_SECRET_PREVIOUS, WebhookCredential, is_host_secret, is_recording,
    printable,
};
use crate::http::audit::CreatedObject;
use crate::http::problem::Problem;
use crate::http::{AppState, webhook};
use crate::json::Json;
use crate::manifest::describe_place;
use crate::plugins::missing_consent;
use crate::secret::Secret;

use super::etag::{ConnectionWithEtag, IfMatch};
use super::{Body, Id, Params, connection_id, stored_connection};

type App = State<Arc<AppState>>;
type Answer<T> = Result<Json<T>, Problem>;

/// Answers `GET /connections`.
pub(crate) async fn list(
    State(app): App,
    Extension(account): Extension<Account>,
) -> Json<ConnectionList> {
    let records = app.services.connections.list();
    let visible = records.iter().filter(|record| account.sees(record.connection.id));
    let connections = visible.map(|record| to_api_connection(&app, record)).collect();
    Json(ConnectionList { connections })
}

/// Answers `POST /connections`.
pub(crate) async fn create(
    State(app): App,
    Body(body): Body<CreateConnection>,
) -> Result<(StatusCode, Extension<CreatedObject>, Json<CreatedConnection>), Problem> {
    let new = new_connection(body)?;
    let issued = app.services.connections.create(new).await?;
    let created = CreatedObject(issued.record.connection.name.clone());
    Ok((StatusCode::CREATED, Extension(created), Json(created_connection(&app, &issued))))
}

/// Answers `GET /connections/{id}`.
pub(crate) async fn show(State(app): App, Id(id): Id) -> Result<ConnectionWithEtag, Problem> {
    Ok(ConnectionWithEtag(to_api_connection(&app, &stored_connection(&app, &id)?)))
}

/// Answers `PATCH /connections/{id}`.
pub(crate) async fn edit(
    State(app): App,
    Extension(account): Extension<Account>,
    Id(id): Id,
    Params(ForceQuery { force }): Params<ForceQuery>,
    if_match: IfMatch,
    Body(body): Body<EditConnection>,
) -> Result<ConnectionWithEtag, Problem> {
    let stored = stored_connection(&app, &id)?.connection;
    let edit = connection_edit(&account, &stored, body, force, if_match)?;
    let edited = app.services.connections.edit(stored.id, edit).await?;
    Ok(ConnectionWithEtag(to_api_connection(&app, &edited)))
}

/// Answers `POST /connections/{id}/paths`: sets the kind of the requests at one path.
pub(crate) async fn map_path(
    State(app): App,
    Id(id): Id,
    Body(MapPath { path, kind }): Body<MapPath>,
) -> Result<ConnectionWithEtag, Problem> {
    let id = connection_id(&app, &id)?;
    let edited = app.services.connections.map_path(id, to_mapped_kind(kind.0), path).await?;
    Ok(ConnectionWithEtag(to_api_connection(&app, &edited)))
}

pub(crate) fn to_mapped_kind(kind: MappedKind) -> connections::MappedKind {
    match kind {
        MappedKind::CreateDefect => connections::MappedKind::CreateDefect,
        MappedKind::Kpis => connections::MappedKind::Kpis,
    }
}

/// Answers `DELETE /connections/{id}`.
pub(crate) async fn delete(
    State(app): App,
    Id(id): Id,
    Params(ForceQuery { force }): Params<ForceQuery>,
) -> Result<StatusCode, Problem> {
    let id = connection_id(&app, &id)?;
    app.services.connections.delete(id, force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Answers `POST /connections/{id}/rotate-token`.
pub(crate) async fn rotate_token(
    State(app): App,
    Id(id): Id,
    Body(RotateToken { grace_s }): Body<RotateToken>,
) -> Answer<CreatedConnection> {
    let id = connection_id(&app, &id)?;
    let issued = app.services.connections.rotate_token(id, grace_s).await?;
    Ok(Json(created_connection(&app, &issued)))
}

/// Answers `POST /connections/{id}/pause`.
pub(crate) async fn pause(State(app): App, Id(id): Id) -> Answer<Connection> {
    set_paused(&app, &id, true).await
}

/// Answers `POST /connections/{id}/resume`.
pub(crate) async fn resume(State(app): App, Id(id): Id) -> Answer<Connection> {
    set_paused(&app, &id, false).await
}

/// Answers `POST /connections/{id}/record`: starts to record runs for a limited time.
pub(crate) async fn record(
    State(app): App,
    Id(id): Id,
    Body(RecordConnection { for_s }): Body<RecordConnection>,
) -> Answer<Connection> {
    if !(1..=RECORD_S_MAX).contains(&for_s) {
        return Err(Problem::invalid_value(
            "for_s",
            format!("must be 1 to {RECORD_S_MAX} seconds"),
        ));
    }
    let id = connection_id(&app, &id)?;
    let record = app.services.connections.record(id, Some(for_s), false).await?;
    Ok(Json(to_api_connection(&app, &record)))
}

/// Answers `DELETE /connections/{id}/record`.
pub(crate) async fn stop_recording(
    State(app): App,
    Id(id): Id,
    Params(EraseQuery { erase }): Params<EraseQuery>,
) -> Answer<Connection> {
    let id = connection_id(&app, &id)?;
    // Some recordings may still be in the queue of the store. Store them first, so that they are
    // erased too.
    app.services.store.flush().await?;
    let record = app.services.connections.record(id, None, erase).await?;
    Ok(Json(to_api_connection(&app, &record)))
}

async fn set_paused(app: &AppState, id: &str, paused: bool) -> Answer<Connection> {
    let id = connection_id(app, id)?;
    let edited = app.services.connections.set_paused(id, paused).await?;
    Ok(Json(to_api_connection(app, &edited)))
}

/// Answers `POST /connections/{id}/try`.
pub(crate) async fn try_connection(
    State(app): App,
    Id(id): Id,
    Body(TryConnection { failed_test }): Body<TryConnection>,
) -> Answer<TryReport> {
    let id = connection_id(&app, &id)?;
    let test = failed_test.map(|test| {
        FailedTest::new(test.test_execution_id, test.test_case_id, test.variation_id, test.link)
    });
    let report = app.services.connections.try_connection(id, test.as_ref()).await?;
    let warnings = warnings_of(&app, id);
    let steps = report.steps.into_iter().map(|step| TryStep {
        name: EnumString(step.step),
        origin: step.origin.map(Text),
        error: step.error.as_deref().map(printable),
        setting: step.setting.as_deref().map(printable),
        note: step.note.as_deref().map(printable),
    });
    let reached = report.reached.as_deref().map(printable);
    Ok(Json(TryReport { steps: steps.collect(), reached, warnings }))
}

/// Answers `POST /connections/{id}/accept`: accepts the newest version of the connector. The body
/// has the same members as the body of an edit, because the new version may need new settings.
pub(crate) async fn accept(
    State(app): App,
    Extension(account): Extension<Account>,
    Id(id): Id,
    Params(AcceptQuery { force, sha256 }): Params<AcceptQuery>,
    if_match: IfMatch,
    Body(body): Body<EditConnection>,
) -> Result<ConnectionWithEtag, Problem> {
    let stored = stored_connection(&app, &id)?.connection;
    let edit = connection_edit(&account, &stored, body, force, if_match)?;
    let accepted = app.services.connections.accept(stored.id, edit, &sha256).await?;
    Ok(ConnectionWithEtag(to_api_connection(&app, &accepted)))
}

/// Answers requests to `/connections/{id}/hook/{path}`. Handles the request of an account as if
/// Test Manager had sent it to this connection's webhook URL. `{path}` is the path below the
/// webhook URL.
pub(crate) async fn hook(
    State(app): App,
    Id(id): Id,
    request: Request,
) -> Result<Response, Problem> {
    let active = app.services.connections.active(connection_id(&app, &id)?);
    let active = active.ok_or_else(|| Problem::no_such("connection", &id))?;
    // Use the raw path, so that a percent-encoded project id in the path stays encoded.
    let path = request.uri().path().splitn(5, '/').nth(4).unwrap_or_default();
    let path = format!("/{path}");
    Ok(webhook::receive_for_connection(app, active, path, request).await)
}

pub(crate) fn new_connection(body: CreateConnection) -> Result<NewConnection, Problem> {
    let connector = body
        .connector
        .parse::<ConnectorName>()
        .map_err(|error| Problem::invalid_value("connector", error.to_string()))?;
    let secrets = body.secrets.into_iter();
    let host_secrets = host_secrets([
        (CLIENT_CERT, body.client_cert),
        (CLIENT_KEY, body.client_key),
        (TEST_MANAGER_SECRET, body.test_manager_client_secret),
        (WEBHOOK_SECRET, body.webhook_secret),
        (WEBHOOK_SECRET_PREVIOUS, body.webhook_secret_previous),
    ]);
    Ok(NewConnection {
        name: body.name,
        connector,
        settings: body.settings,
        secrets: secrets.chain(host_secrets).map(|(name, secret)| (name, secret.0)).collect(),
        project: body.project,
        allow_private: body.allow_private,
        http1_only: body.http1_only,
        trace_context: body.trace_context,
        index_delay_s: body.index_delay_s,
        test_manager: body.test_manager.map(to_test_manager_edit),
        report: body.report,
        on_recurrence: body.on_recurrence.map_or(OnRecurrence::New, |reaction| reaction.0),
        webhook_auth: body.webhook_auth.map(to_webhook_auth_edit).unwrap_or_default(),
        webhook_paths: webhook_paths(body.webhook_paths),
    })
}

/// Converts the body of a request that edits the connection `stored`.
///
/// # Errors
/// The account is limited to some connections, but the edit needs rights for the whole server.
pub(crate) fn connection_edit(
    account: &Account,
    stored: &domain::Connection,
    body: EditConnection,
    force: bool,
    if_match: IfMatch,
) -> Result<ConnectionEdit, Problem> {
    let client_secret = body.test_manager_client_secret.map(Some);
    let host_secrets = host_secrets([
        (CLIENT_CERT, body.client_cert),
        (CLIENT_KEY, body.client_key),
        (TEST_MANAGER_SECRET, client_secret),
        (WEBHOOK_SECRET, body.webhook_secret.map(Some)),
        (WEBHOOK_SECRET_PREVIOUS, body.webhook_secret_previous),
    ]);
    let secrets = body.secrets.into_iter().chain(host_secrets);
    let edit = ConnectionEdit {
        name: body.name,
        settings: body.settings,
        secrets: secrets.map(|(name, text)| (name, text.map(|text| text.0))).collect(),
        project: body.project,
        allow_private: body.allow_private,
        http1_only: body.http1_only,
        trace_context: body.trace_context,
        index_delay_s: body.index_delay_s,
        test_manager: body.test_manager.map(|edit| edit.map(to_test_manager_edit)),
        report: body.report,
        on_recurrence: body.on_recurrence.map(|reaction| reaction.0),
        webhook_auth: body.webhook_auth.map(|edit| edit.map(to_webhook_auth_edit)),
        webhook_paths: body.webhook_paths.map(webhook_paths),
        revisions: if_match.0,
        force,
    };
    check_limited_account(account, stored, &edit)?;
    Ok(edit)
}

/// Refuses an edit by an account that is limited to some connections if the edit refers to files or
/// environment variables of the server, or newly allows private addresses. Otherwise, the admin of
/// one connection could read the secrets of other connections, or reach hosts that only this
/// machine can reach.
fn check_limited_account(
    account: &Account,
    stored: &domain::Connection,
    edit: &ConnectionEdit,
) -> Result<(), Problem> {
    if account.connections.is_none() {
        return Ok(());
    }
    if edit.secrets.values().flatten().any(Secret::is_reference) {
        return Err(Problem::role_too_low(
            "the account is limited to some connections: it can set the value of a secret, but cannot refer \
             to a file or an environment variable of the server"
                .to_owned(),
        ));
    }
    if edit.allow_private == Some(true) && !stored.allow_private {
        return Err(Problem::role_too_low(
            "the account is limited to some connections: it cannot allow private addresses"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Selects the secrets that a request contains, and returns each with its name in the store.
/// `secrets` are secrets that only the host uses, never a guest.
pub(crate) fn host_secrets<T, const N: usize>(
    secrets: [(&str, Option<T>); N],
) -> impl Iterator<Item = (String, T)> {
    secrets.into_iter().filter_map(|(name, secret)| Some((name.to_owned(), secret?)))
}

pub(super) fn webhook_paths(paths: WebhookPaths) -> domain::WebhookPaths {
    domain::WebhookPaths { create_defect: paths.create_defect, kpis: paths.kpis }
}

pub(super) fn to_test_manager_edit(edit: EditTestManager) -> TestManagerEdit {
    let EditTestManager { base_url, token_url, client_id, scopes, project_id, asset_origins } =
        edit;
    TestManagerEdit { base_url, token_url, client_id, scopes, project_id, asset_origins }
}

pub(super) fn to_webhook_auth_edit(edit: EditWebhookAuth) -> WebhookAuthEdit {
    let EditWebhookAuth { scheme, user, header, tolerance_s, allowed_clients } = edit;
    let scheme = scheme.map(|scheme| scheme.map(|scheme| scheme.0));
    WebhookAuthEdit { scheme, user, header, tolerance_s, allowed_clients }
}

pub(super) fn to_api_webhook_auth(auth: &domain::WebhookAuth) -> WebhookAuth {
    let allowed_clients = auth.allowed_clients.iter().copied().map(Text).collect();
    let without_credential = WebhookAuth { allowed_clients, ..WebhookAuth::default() };
    let Some(credential) = auth.credential.clone() else { return without_credential };
    let scheme = Some(EnumString(credential.scheme()));
    match credential {
        WebhookCredential::Bearer => WebhookAuth { scheme, ..without_credential },
        WebhookCredential::Basic { user } => {
            WebhookAuth { scheme, user: Some(user), ..without_credential }
        }
        WebhookCredential::ApiKey { header } => {
            WebhookAuth { scheme, header: Some(header), ..without_credential }
        }
        WebhookCredential::Signature { tolerance_s } => {
            WebhookAuth { scheme, tolerance_s: Some(tolerance_s), ..without_credential }
        }
    }
}

fn to_api_test_manager(settings: &TestManagerSettings) -> TestManager {
    TestManager {
        base_url: settings.base_url.to_string(),
        token_url: settings.token_url.to_string(),
        client_id: settings.client_id.clone(),
        scopes: settings.scopes.clone(),
        project_id: settings.project_id.clone(),
        asset_origins: settings.asset_origins.iter().cloned().map(Text).collect(),
    }
}

fn created_connection(app: &AppState, issued: &IssuedToken) -> CreatedConnection {
    let webhook_url = app.webhook_url(&issued.token);
    CreatedConnection { connection: to_api_connection(app, &issued.record), webhook_url }
}

pub(crate) fn webhook_url(app: &AppState, issued: &IssuedToken) -> String {
    app.webhook_url(&issued.token)
}

pub(crate) fn to_api_connection(app: &AppState, record: &ConnectionRecord) -> Connection {
    let stored = &record.connection;
    let newest = app.services.plugins.newest(&stored.connector).ok();
    let unapproved = newest.as_ref().map(|newest| missing_consent(newest, stored));
    let needs_consent = unapproved.filter(|unapproved| !unapproved.is_empty());
    let status = match (stored.paused, &newest, &needs_consent) {
        (true, ..) => ConnectionStatus::Paused,
        (false, None, _) => ConnectionStatus::ConnectorUnavailable,
        (false, Some(_), Some(_)) => ConnectionStatus::NeedsConsent,
        (false, Some(_), None) => ConnectionStatus::Active,
    };
    let last_error = record.last_error.clone();
    let secrets_set = stored.secrets_set.iter().filter(|name| !is_host_secret(name)).cloned();
    let has_secret = |name: &str| stored.secrets_set.iter().any(|set_name| set_name == name);
    Connection {
        id: stored.id.0,
        revision: record.revision,
        name: stored.name.clone(),
        connector: stored.connector.to_string(),
        status: EnumString(status),
        settings: stored.settings.clone(),
        secrets_set: secrets_set.collect(),
        has_client_cert: has_secret(CLIENT_CERT),
        test_manager: stored.test_manager.as_ref().map(to_api_test_manager),
        has_test_manager_client_secret: has_secret(TEST_MANAGER_SECRET),
        webhook_auth: to_api_webhook_auth(&stored.webhook_auth),
        has_webhook_secret: has_secret(WEBHOOK_SECRET),
        has_webhook_secret_previous: has_secret(WEBHOOK_SECRET_PREVIOUS),
        grants: to_api_grants(&stored.grants),
        accepted_sha256: stored.accepted_sha256.clone(),
        needs_consent,
        newest_sha256: newest.map(|newest| newest.sha256().to_owned()),
        project: stored.project.clone(),
        allow_private: stored.allow_private,
        http1_only: stored.http1_only,
        trace_context: stored.trace_context,
        index_delay_s: stored.index_delay_s,
        report: stored.report.clone(),
        on_recurrence: EnumString(stored.on_recurrence),
        webhook_paths: WebhookPaths {
            create_defect: stored.webhook_paths.create_defect.clone(),
            kpis: stored.webhook_paths.kpis.clone(),
        },
        index_lag_ms: record.index_lag_ms,
        warnings: warnings_of(app, stored.id),
        paused: stored.paused,
        recording_until: stored
            .recording_until
            .filter(|until| is_recording(Some(*until), app.services.clock.now()))
            .map(Time),
        token_tail: record.token_tail.clone(),
        created_at: Time(stored.created_at),
        last_success_at: record.last_success_at.map(Time),
        last_error: last_error
            .map(|(at, detail)| LastError { at: Time(at), detail: printable(&detail) }),
    }
}

/// The warnings about the secrets of a connection; empty if the connection is not loaded.
fn warnings_of(app: &AppState, id: ConnectionId) -> Vec<String> {
    app.services.connections.active(id).map(|active| active.warnings()).unwrap_or_default()
}

fn to_api_grants(grants: &domain::Grants) -> Grants {
    let secrets = grants.secrets.iter().map(|(name, grant)| {
        let (origin, place) = (Text(grant.origin.clone()), describe_place(&grant.place));
        (name.clone(), SecretGrant { origin, place })
    });
    Grants {
        origins: grants.origins.iter().cloned().map(Text).collect(),
        secrets: secrets.collect(),
        test_data: grants.may_read_test_data,
    }
}
