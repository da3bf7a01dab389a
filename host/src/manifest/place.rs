//! Reads `jackfield:place`: where the host puts a secret in a request to its origin.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::SecretPlace;

use super::SchemaError;
use super::keywords::{only, quoted, required_string, string};
use super::schema::DeclaredSetting;

/// Headers that control the HTTP exchange itself; a secret never replaces them.
const EXCHANGE_HEADERS: &[&str] =
    &["host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade"];

/// A place of which some parts may be names of settings. With the values of these settings it
/// becomes a [`SecretPlace`].
#[derive(Debug)]
pub(super) struct PlaceTemplate {
    /// The setting whose origin receives the secret.
    pub(super) origin_setting: String,
    pub(super) kind: PlaceKind,
}

#[derive(Debug)]
pub(super) enum PlaceKind {
    /// A place without parts that settings fill in.
    Fixed(SecretPlace),
    /// Basic authentication: the secret is the password, and a setting contains the user.
    BasicPassword { user_setting: String },
    /// OAuth 2.0 client credentials; settings contain the token URL and the client id.
    ClientCredentials {
        token_url_setting: String,
        client_id_setting: String,
        scope: Option<String>,
    },
}

impl PlaceTemplate {
    pub(super) fn read(
        place: &Value,
        settings: &BTreeMap<String, DeclaredSetting>,
    ) -> Result<Self, SchemaError> {
        let Value::Object(place) = place else {
            return Err(SchemaError::new("must be an object"));
        };
        Ok(Self {
            kind: PlaceKind::read(place, settings)?,
            origin_setting: origin_setting(place, settings)?,
        })
    }
}

impl PlaceKind {
    fn read(
        place: &Map<String, Value>,
        settings: &BTreeMap<String, DeclaredSetting>,
    ) -> Result<Self, SchemaError> {
        let setting = |keyword: &str| match required_string(place, keyword)? {
            name if settings.contains_key(name) => Ok(name.to_owned()),
            name => Err(SchemaError::at(
                keyword,
                format!("names {}, which must be a setting that is not a secret", quoted(name)),
            )),
        };
        Ok(match string(place, "in")? {
            Some("bearer") => {
                only(place, &["in", "origin"])?;
                Self::Fixed(SecretPlace::Bearer)
            }
            Some("header") => {
                only(place, &["in", "origin", "name", "prefix"])?;
                Self::Fixed(header(place)?)
            }
            Some("basic") => {
                only(place, &["in", "origin", "user"])?;
                match string(place, "user")? {
                    None => Self::Fixed(SecretPlace::Basic { user: None }),
                    Some(_) => Self::BasicPassword { user_setting: setting("user")? },
                }
            }
            Some("query") => {
                only(place, &["in", "origin", "name"])?;
                let name = required_string(place, "name")?.to_owned();
                Self::Fixed(SecretPlace::Query { name })
            }
            Some("json") => {
                only(place, &["in", "origin", "pointer"])?;
                Self::Fixed(SecretPlace::Json { pointer: pointer(place)? })
            }
            Some("form") => {
                only(place, &["in", "origin", "name"])?;
                let name = required_string(place, "name")?.to_owned();
                Self::Fixed(SecretPlace::Form { name })
            }
            Some("client-credentials") => {
                only(place, &["in", "origin", "tokenUrl", "clientId", "scope"])?;
                Self::ClientCredentials {
                    token_url_setting: setting("tokenUrl")?,
                    client_id_setting: setting("clientId")?,
                    scope: string(place, "scope")?.map(str::to_owned),
                }
            }
            _ => {
                return Err(SchemaError::at(
                    "in",
                    "must be one of bearer, header, basic, query, json, form, client-credentials",
                ));
            }
        })
    }
}

/// Reads a JSON pointer to a member of the body, such as `/user/password`.
fn pointer(place: &Map<String, Value>) -> Result<String, SchemaError> {
    let pointer = required_string(place, "pointer")?;
    let is_escaped = pointer.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if !pointer.starts_with('/') || !is_escaped {
        return Err(SchemaError::at("pointer", "must be a JSON pointer such as \"/password\""));
    }
    Ok(pointer.to_owned())
}

fn header(place: &Map<String, Value>) -> Result<SecretPlace, SchemaError> {
    let name = required_string(place, "name")?;
    let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) else {
        return Err(SchemaError::at("name", "is not a valid header name"));
    };
    let name = name.as_str().to_owned();
    if EXCHANGE_HEADERS.contains(&name.as_str()) {
        let problem = format!("must not be {name:?}: only the host sets this header");
        return Err(SchemaError::at("name", problem));
    }
    let prefix = string(place, "prefix")?.unwrap_or_default().to_owned();
    if http::HeaderValue::from_str(&prefix).is_err() {
        return Err(SchemaError::at("prefix", "has characters that a header must not contain"));
    }
    Ok(SecretPlace::Header { name, prefix })
}

/// Returns the setting whose origin receives the secret: the one that is named, or the only origin.
fn origin_setting(
    place: &Map<String, Value>,
    settings: &BTreeMap<String, DeclaredSetting>,
) -> Result<String, SchemaError> {
    let mut origins = settings.iter().filter(|(_, setting)| setting.is_origin);
    if let Some(named) = string(place, "origin")? {
        return match origins.find(|(name, _)| *name == named) {
            Some((name, _)) => Ok(name.clone()),
            None => Err(SchemaError::at(
                "origin",
                format!("names {}, which is not a \"jackfield:origin\"", quoted(named)),
            )),
        };
    }
    match (origins.next(), origins.next()) {
        (Some((name, _)), None) => Ok(name.clone()),
        (None, _) => Err(SchemaError::new("requires a setting with \"jackfield:origin\": true")),
        _ => Err(SchemaError::at(
            "origin",
            "is required, because several settings have \"jackfield:origin\": true",
        )),
    }
}
