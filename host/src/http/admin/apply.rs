//! Handlers of `/apply`, which creates and changes connections to match a file, and of `/export`,
//! which returns such a file: never a secret, only references to secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;

use crate::api::{
    AppliedAction, AppliedChange, AppliedConnection, AppliedConnections, ApplyQuery,
    ConnectionFile, ConnectionsFile, EditTestManager, EditWebhookAuth, EnumString, SecretText,
    Text, WebhookPaths,
};
use crate::connections::{Applied, NewConnection};
use crate::domain::{
    self, Account, CLIENT_CERT, CLIENT_KEY, OnRecurrence, TEST_MANAGER_SECRET, TestManagerSettings,
    WEBHOOK_SECRET, WEBHOOK_SECRET_PREVIOUS, is_host_secret,
};
use crate::http::AppState;
use crate::http::audit::{self, Caller};
use crate::http::problem::Problem;
use crate::json::Json;
use crate::secret::Secret;

use super::connections::{
    host_secrets, to_api_webhook_auth, to_test_manager_edit, to_webhook_auth_edit, webhook_paths,
};
use super::{Body, Params};

type App = State<Arc<AppState>>;

/// Answers `POST /apply`.
pub(crate) async fn apply(
    State(app): App,
    Extension(account): Extension<Account>,
    Extension(caller): Extension<Caller>,
    Params(ApplyQuery { dry_run, force }): Params<ApplyQuery>,
    Body(file): Body<ConnectionsFile>,
) -> Result<Json<AppliedConnections>, Problem> {
    let requested = file.connections.into_iter().map(|(name, file)| new_connection(name, file));
    let requested = requested.collect::<Result<Vec<_>, Problem>>()?;
    let applied = app.services.connections.apply(requested, dry_run, force).await?;
    let connections: Vec<_> =
        applied.into_iter().map(|applied| to_applied_connection(&app, applied)).collect();
    for connection in connections.iter().filter(|_| !dry_run) {
        let action = match connection.action.0 {
            AppliedAction::Create => "connection.create",
            AppliedAction::Change => "connection.edit",
            AppliedAction::Nothing => continue,
        };
        audit::record_part(&app, &account, &caller, (action, &connection.name)).await;
    }
    Ok(Json(AppliedConnections { dry_run, connections }))
}

/// Answers `GET /export`.
pub(crate) async fn export(State(app): App) -> Result<Json<ConnectionsFile>, Problem> {
    let exported = app.services.connections.export().await?.into_iter();
    let connections = exported.map(|(connection, references)| {
        (connection.name.clone(), to_connection_file(connection, references))
    });
    Ok(Json(ConnectionsFile { connections: connections.collect() }))
}

fn new_connection(name: String, file: ConnectionFile) -> Result<NewConnection, Problem> {
    let connector = file.connector.parse().map_err(|error: domain::InvalidName| {
        Problem::invalid_value(&format!("{name}.connector"), error.to_string())
    })?;
    let host_secrets = host_secrets([
        (CLIENT_CERT, file.client_cert),
        (CLIENT_KEY, file.client_key),
        (TEST_MANAGER_SECRET, file.test_manager_client_secret),
        (WEBHOOK_SECRET, file.webhook_secret),
        (WEBHOOK_SECRET_PREVIOUS, file.webhook_secret_previous),
    ]);
    let secrets = file.secrets.into_iter().chain(host_secrets);
    Ok(NewConnection {
        name,
        connector,
        settings: file.settings,
        secrets: secrets.map(|(name, secret)| (name, secret.0)).collect(),
        project: file.project,
        allow_private: file.allow_private,
        http1_only: file.http1_only,
        trace_context: file.trace_context,
        index_delay_s: file.index_delay_s,
        test_manager: file.test_manager.map(to_test_manager_edit),
        report: file.report,
        on_recurrence: file.on_recurrence.map_or(OnRecurrence::New, |reaction| reaction.0),
        webhook_auth: file.webhook_auth.map(to_webhook_auth_edit).unwrap_or_default(),
        webhook_paths: webhook_paths(file.webhook_paths),
    })
}

fn to_applied_connection(app: &AppState, applied: Applied) -> AppliedConnection {
    let action = match (applied.is_new, applied.changes.is_empty()) {
        (true, _) => AppliedAction::Create,
        (false, false) => AppliedAction::Change,
        (false, true) => AppliedAction::Nothing,
    };
    let changes = applied.changes.into_iter();
    let changes = changes
        .map(|change| AppliedChange {
            member: change.member,
            before: change.before,
            after: change.after,
        })
        .collect();
    let webhook_url = applied.created.map(|issued| app.webhook_url(&issued.token));
    AppliedConnection { name: applied.name, action: EnumString(action), changes, webhook_url }
}

/// `references` contains the references to the connection's secrets, by the names of the secrets.
fn to_connection_file(
    connection: domain::Connection,
    mut references: BTreeMap<String, String>,
) -> ConnectionFile {
    let mut take_reference = |name: &str| references.remove(name).map(secret_text);
    let (client_cert, client_key) = (take_reference(CLIENT_CERT), take_reference(CLIENT_KEY));
    let test_manager_client_secret = take_reference(TEST_MANAGER_SECRET);
    let (webhook_secret, webhook_secret_previous) =
        (take_reference(WEBHOOK_SECRET), take_reference(WEBHOOK_SECRET_PREVIOUS));
    let secrets = references.into_iter().filter(|(name, _)| !is_host_secret(name));
    ConnectionFile {
        connector: connection.connector.to_string(),
        project: connection.project,
        allow_private: connection.allow_private,
        http1_only: connection.http1_only,
        trace_context: connection.trace_context,
        index_delay_s: connection.index_delay_s,
        on_recurrence: Some(EnumString(connection.on_recurrence)),
        client_cert,
        client_key,
        test_manager_client_secret,
        webhook_secret,
        webhook_secret_previous,
        settings: connection.settings,
        secrets: secrets.map(|(name, text)| (name, secret_text(text))).collect(),
        test_manager: connection.test_manager.as_ref().map(to_test_manager_of_file),
        webhook_auth: to_webhook_auth_of_file(&connection.webhook_auth),
        report: connection.report,
        webhook_paths: WebhookPaths {
            create_defect: connection.webhook_paths.create_defect,
            kpis: connection.webhook_paths.kpis,
        },
    }
}

/// `None` if all settings have their defaults.
fn to_webhook_auth_of_file(auth: &domain::WebhookAuth) -> Option<EditWebhookAuth> {
    let api_auth = to_api_webhook_auth(auth);
    let clients = api_auth.allowed_clients.iter().map(ToString::to_string).collect::<Vec<_>>();
    (*auth != domain::WebhookAuth::default()).then(|| EditWebhookAuth {
        scheme: api_auth.scheme.map(Some),
        user: api_auth.user,
        header: api_auth.header,
        tolerance_s: api_auth.tolerance_s,
        allowed_clients: (!clients.is_empty()).then_some(clients),
    })
}

/// The reference itself is not secret.
fn secret_text(reference: String) -> SecretText {
    SecretText(Secret::new(reference))
}

fn to_test_manager_of_file(settings: &TestManagerSettings) -> EditTestManager {
    let origins = settings.asset_origins.iter().map(|origin| Text(origin.clone()).to_string());
    EditTestManager {
        base_url: Some(settings.base_url.to_string()),
        token_url: Some(settings.token_url.to_string()),
        client_id: Some(settings.client_id.clone()),
        scopes: Some(settings.scopes.clone()),
        project_id: settings.project_id.clone().map(Some),
        asset_origins: Some(origins.collect()),
    }
}
