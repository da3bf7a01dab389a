//! `/api/v1/account`: who sent the request. `/api/v1/tokens`: creates, lists and revokes named
//! tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use crate::accounts::{IssuedAccountToken, NewToken};
use crate::api::{self, CreateToken, CreatedToken, EnumString, SecretText, Time, Token, TokenList};
use crate::domain::{Account, AccountToken, ConnectionId, TokenId};
use crate::http::AppState;
use crate::http::audit::CreatedObject;
use crate::http::problem::Problem;
use crate::http::session::Session;

use super::{Body, Id, connection_id, connection_names};

/// The longest lifetime of a token, seconds: ten years.
const LIFETIME_S_MAX: u64 = 10 * 365 * 24 * 60 * 60;

type App = State<Arc<AppState>>;

pub(crate) async fn account(
    State(app): App,
    Extension(account): Extension<Account>,
    session: Option<Extension<Session>>,
) -> Json<api::Account> {
    Json(api::Account {
        name: account.name,
        role: EnumString(account.role),
        connections: names(&app, account.connections),
        csrf: session.map(|Extension(session)| session.csrf),
    })
}

pub(crate) async fn list(State(app): App) -> Result<Json<TokenList>, Problem> {
    Ok(Json(TokenList { tokens: all(&app).await? }))
}

/// All named tokens, by name.
pub(crate) async fn all(app: &AppState) -> Result<Vec<Token>, Problem> {
    let tokens = app.services.accounts.tokens().await?;
    Ok(tokens.into_iter().map(|it| token(app, it)).collect())
}

pub(crate) async fn create(
    State(app): App,
    Extension(account): Extension<Account>,
    Body(body): Body<CreateToken>,
) -> Result<(StatusCode, Extension<CreatedObject>, Json<CreatedToken>), Problem> {
    let created = issue(&app, &account, body).await?;
    let object = CreatedObject(created.record.name.clone());
    Ok((StatusCode::CREATED, Extension(object), Json(created)))
}

/// Creates a token, in the name of an account.
pub(crate) async fn issue(
    app: &AppState,
    account: &Account,
    body: CreateToken,
) -> Result<CreatedToken, Problem> {
    let CreateToken { name, role, connections, expires_in_s } = body;
    if expires_in_s.is_some_and(|s| !(1..=LIFETIME_S_MAX).contains(&s)) {
        let why = format!("give 1 to {LIFETIME_S_MAX} seconds, or leave it out");
        return Err(Problem::invalid_value("expires_in_s", why));
    }
    let named = connections.map(|all| all.iter().map(|name| connection_id(app, name)).collect());
    let connections = named.transpose()?;
    let new = NewToken { name, role: role.0, connections, lifetime_s: expires_in_s };
    let issued = app.services.accounts.create(new, &account.name).await?;
    let IssuedAccountToken { record, token: secret } = issued;
    Ok(CreatedToken { record: token(app, record), token: SecretText(secret) })
}

pub(crate) async fn revoke(State(app): App, Id(id_or_name): Id) -> Result<StatusCode, Problem> {
    let tokens = app.services.accounts.tokens().await?;
    let id = id_or_name.parse().ok().map(TokenId);
    let mut found = tokens.iter().filter(|it| Some(it.id) == id || it.account.name == id_or_name);
    let found = found.next().ok_or_else(|| Problem::no_such("token", &id_or_name))?;
    app.services.accounts.revoke(found.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The names of connections. One that was deleted has only its id.
fn names(app: &AppState, ids: Option<BTreeSet<ConnectionId>>) -> Option<Vec<String>> {
    let names = connection_names(app);
    let name = |id| names.get(&id).cloned().unwrap_or_else(|| id.to_string());
    ids.map(|ids| ids.into_iter().map(name).collect())
}

fn token(app: &AppState, it: AccountToken) -> Token {
    Token {
        id: it.id.0,
        name: it.account.name,
        role: EnumString(it.account.role),
        connections: names(app, it.account.connections),
        tail: it.tail,
        created_at: Time(it.created_at),
        created_by: it.created_by,
        expires_at: it.expires_at.map(Time),
        last_used_at: it.last_used_at.map(Time),
    }
}
