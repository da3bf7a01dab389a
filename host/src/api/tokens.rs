//! Types of `/account`, which shows an account, and of `/tokens`, which lists, creates and revokes
//! the named tokens of accounts. No answer contains a named token, except the answer that creates
//! the token.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::Role;

use super::{EnumString, SecretText, Time};

/// The answer to `GET /account`: the account that sent the request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// The name of the account.
    pub name: String,
    /// The role, which determines what the account may do.
    pub role: EnumString<Role>,
    /// The names of the only connections that the account may see, and the ids of those that were
    /// deleted; `null` if the account may see all connections.
    pub connections: Option<Vec<String>>,
    /// The CSRF token of the session. Each request that changes something must contain it in the
    /// header `X-CSRF-Token` or in the form field `csrf`. `null` if the request was sent with a
    /// token, because then it has no session.
    pub csrf: Option<String>,
}

/// The answer to `GET /tokens`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TokenList {
    /// All named tokens, sorted by name.
    pub tokens: Vec<Token>,
}

/// The stored record of a named token. It does not contain the token itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// The id of the token.
    pub id: Uuid,
    /// The name of the account, as the audit log shows it.
    pub name: String,
    /// The role, which determines what the account may do.
    pub role: EnumString<Role>,
    /// The names of the only connections that the account may see, and the ids of those that were
    /// deleted; `null` if the account may see all connections.
    pub connections: Option<Vec<String>>,
    /// The last four characters of the token.
    pub tail: String,
    /// The time at which the token was created.
    pub created_at: Time,
    /// The name of the account that created the token.
    pub created_by: String,
    /// The time at which the token expires; `null` if the token never expires.
    pub expires_at: Option<Time>,
    /// The time of the last use of the token, at most one minute too early; `null` if the token was
    /// never used.
    pub last_used_at: Option<Time>,
}

/// The body of `POST /tokens`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// The name of the account.
    pub name: String,
    /// The role, which determines what the account may do.
    pub role: EnumString<Role>,
    /// The ids or names of the only connections that the account may see. If absent, the account
    /// may see all connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Vec<String>>,
    /// The time for which the token is valid, seconds. If absent, the token never expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
}

/// The answer to `POST /tokens`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CreatedToken {
    /// The stored record of the token.
    #[serde(flatten)]
    pub record: Token,
    /// The token itself. Only this answer contains it.
    pub token: SecretText,
}
