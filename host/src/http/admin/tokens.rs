//! Handlers of `/api/v1/account` and `/api/v1/tokens`. Only the answer to `POST /tokens` contains a
//! named token.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;

use crate::accounts::{IssuedAccountToken, NewToken};
use crate::api::{self, CreateToken, CreatedToken, EnumString, SecretText, Time, Token, TokenList};
use crate::domain::{Account, AccountToken, ConnectionId, TokenId};
use crate::http::AppState;
use crate::http::audit::CreatedObject;
use crate::http::problem::Problem;
use crate::http::session::Session;
use crate::json::Json;

use super::{Body, Id, connection_id, connection_names};

/// Maximum lifetime of a token, seconds: ten years.
const LIFETIME_S_MAX: u64 = 10 * 365 * 24 * 60 * 60;

type App = State<Arc<AppState>>;

/// Answers `GET /account`.
pub(crate) async fn account(
    State(app): App,
    Extension(account): Extension<Account>,
    session: Option<Extension<Session>>,
) -> Json<api::Account> {
    Json(api::Account {
        name: account.name,
        role: EnumString(account.role),
        connections: names_or_ids(&app, account.connections),
        csrf: session.map(|Extension(session)| session.csrf_token),
    })
}

/// Answers `GET /tokens`.
pub(crate) async fn list(State(app): App) -> Result<Json<TokenList>, Problem> {
    Ok(Json(TokenList { tokens: list_tokens(&app).await? }))
}

pub(crate) async fn list_tokens(app: &AppState) -> Result<Vec<Token>, Problem> {
    let tokens = app.services.accounts.tokens().await?;
    Ok(tokens.into_iter().map(|record| to_api_token(app, record)).collect())
}

/// Answers `POST /tokens`.
pub(crate) async fn create(
    State(app): App,
    Extension(account): Extension<Account>,
    Body(body): Body<CreateToken>,
) -> Result<(StatusCode, Extension<CreatedObject>, Json<CreatedToken>), Problem> {
    let created = issue(&app, &account, body).await?;
    let object = CreatedObject(created.record.name.clone());
    Ok((StatusCode::CREATED, Extension(object), Json(created)))
}

/// Creates a token. The name of `account` is stored as the creator of the token.
pub(crate) async fn issue(
    app: &AppState,
    account: &Account,
    body: CreateToken,
) -> Result<CreatedToken, Problem> {
    let CreateToken { name, role, connections, expires_in_s } = body;
    if expires_in_s.is_some_and(|seconds| !(1..=LIFETIME_S_MAX).contains(&seconds)) {
        let why =
            format!("must be 1 to {LIFETIME_S_MAX} seconds; without it, the token does not expire");
        return Err(Problem::invalid_value("expires_in_s", why));
    }
    let ids = connections.map(|names| names.iter().map(|name| connection_id(app, name)).collect());
    let connections = ids.transpose()?;
    let new = NewToken { name, role: role.0, connections, lifetime_s: expires_in_s };
    let issued = app.services.accounts.create(new, &account.name).await?;
    let IssuedAccountToken { record, token: secret } = issued;
    Ok(CreatedToken { record: to_api_token(app, record), token: SecretText(secret) })
}

/// Answers `DELETE /tokens/{id}`.
pub(crate) async fn revoke(State(app): App, Id(id_or_name): Id) -> Result<StatusCode, Problem> {
    let tokens = app.services.accounts.tokens().await?;
    let id = id_or_name.parse().ok().map(TokenId);
    let mut matching =
        tokens.iter().filter(|token| Some(token.id) == id || token.account.name == id_or_name);
    let found = matching.next().ok_or_else(|| Problem::no_such("token", &id_or_name))?;
    app.services.accounts.revoke(found.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The names of the connections with these ids. A deleted connection is listed by its id.
fn names_or_ids(app: &AppState, ids: Option<BTreeSet<ConnectionId>>) -> Option<Vec<String>> {
    let names = connection_names(app);
    let name = |id| names.get(&id).cloned().unwrap_or_else(|| id.to_string());
    ids.map(|ids| ids.into_iter().map(name).collect())
}

fn to_api_token(app: &AppState, record: AccountToken) -> Token {
    Token {
        id: record.id.0,
        name: record.account.name,
        role: EnumString(record.account.role),
        connections: names_or_ids(app, record.account.connections),
        tail: record.tail,
        created_at: Time(record.created_at),
        created_by: record.created_by,
        expires_at: record.expires_at.map(Time),
        last_used_at: record.last_used_at.map(Time),
    }
}
