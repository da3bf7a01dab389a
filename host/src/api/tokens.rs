//! Types of `/account` and `/tokens`: accounts, and the named tokens that sign them in. A token is
//! only in the answer that creates it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::Role;

use super::{EnumString, SecretText, Time};

/// The answer to `GET /account`: who sent the request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// The name of the account.
    pub name: String,
    /// The role, which determines what the account may do.
    pub role: EnumString<Role>,
    /// The names of the only connections that the account may see; absent if it may see all.
    pub connections: Option<Vec<String>>,
    /// The CSRF token, which each change must have in the header `X-CSRF-Token` or in the field
    /// `csrf` of its form; absent if the request was sent with a token instead of a session's
    /// cookie.
    pub csrf: Option<String>,
}

/// The answer to `GET /tokens`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TokenList {
    /// All named tokens, by name.
    pub tokens: Vec<Token>,
}

/// A named token. The token itself is never shown again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// The id of the token.
    pub id: Uuid,
    /// The name of the account, as the audit log shows it.
    pub name: String,
    /// The role, which determines what the account may do.
    pub role: EnumString<Role>,
    /// The names of the only connections that the account may see; absent if it may see all.
    pub connections: Option<Vec<String>>,
    /// The last characters of the token.
    pub tail: String,
    /// When the token was created.
    pub created_at: Time,
    /// The account that created the token.
    pub created_by: String,
    /// When the token expires; absent if it never expires.
    pub expires_at: Option<Time>,
    /// When the token was last used, to the minute; absent if it was never used.
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
    /// The only connections that the account may see, by id or name; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Vec<String>>,
    /// How long the token is valid, seconds; without limit if absent.
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
