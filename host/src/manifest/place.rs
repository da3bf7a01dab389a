//! Reads the keyword `jackfield:place`, which defines where the host puts a secret in a request.
//! This module never reads a secret.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::SecretPlace;

use super::SchemaError;
use super::keywords::{quote_name, read_required_string, read_string, refuse_unsupported};
use super::schema::DeclaredSetting;

/// Headers that control the HTTP exchange itself. A secret must not be in one of them.
const EXCHANGE_HEADERS: &[&str] =
    &["host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade"];

/// The place of a secret, as the schema declares it. With the values of the named settings, it
/// becomes a [`SecretPlace`].
#[derive(Debug)]
pub(super) struct PlaceTemplate {
    /// The setting whose origin receives the secret.
    pub(super) origin_setting: String,
    pub(super) kind: PlaceKind,
}

#[derive(Debug)]
pub(super) enum PlaceKind {
    /// A place that contains no names of settings.
    Fixed(SecretPlace),
    /// The secret is the password, and a setting contains the user.
    BasicPassword { user_setting: String },
    /// Settings contain the token URL and the client id of OAuth 2.0.
    ClientCredentials {
        token_url_setting: String,
        client_id_setting: String,
        scope: Option<String>,
    },
}

impl PlaceTemplate {
    /// Reads the value of the keyword `jackfield:place`.
    pub(super) fn read(
        place: &Value,
        settings: &BTreeMap<String, DeclaredSetting>,
    ) -> Result<Self, SchemaError> {
        let Value::Object(place) = place else {
            return Err(SchemaError::new("must be an object"));
        };
        Ok(Self {
            kind: PlaceKind::read(place, settings)?,
            origin_setting: read_origin_setting(place, settings)?,
        })
    }
}

impl PlaceKind {
    fn read(
        place: &Map<String, Value>,
        settings: &BTreeMap<String, DeclaredSetting>,
    ) -> Result<Self, SchemaError> {
        let setting_name = |keyword: &str| match read_required_string(place, keyword)? {
            name if settings.contains_key(name) => Ok(name.to_owned()),
            name => Err(SchemaError::at_keyword(
                keyword,
                format!("names {}, which must be a setting that is not a secret", quote_name(name)),
            )),
        };
        Ok(match read_string(place, "in")? {
            Some("bearer") => {
                refuse_unsupported(place, &["in", "origin"])?;
                Self::Fixed(SecretPlace::Bearer)
            }
            Some("header") => {
                refuse_unsupported(place, &["in", "origin", "name", "prefix"])?;
                Self::Fixed(read_header(place)?)
            }
            Some("basic") => {
                refuse_unsupported(place, &["in", "origin", "user"])?;
                match read_string(place, "user")? {
                    None => Self::Fixed(SecretPlace::Basic { user: None }),
                    Some(_) => Self::BasicPassword { user_setting: setting_name("user")? },
                }
            }
            Some("query") => {
                refuse_unsupported(place, &["in", "origin", "name"])?;
                let name = read_required_string(place, "name")?.to_owned();
                Self::Fixed(SecretPlace::Query { name })
            }
            Some("json") => {
                refuse_unsupported(place, &["in", "origin", "pointer"])?;
                Self::Fixed(SecretPlace::Json { pointer: read_pointer(place)? })
            }
            Some("form") => {
                refuse_unsupported(place, &["in", "origin", "name"])?;
                let name = read_required_string(place, "name")?.to_owned();
                Self::Fixed(SecretPlace::Form { name })
            }
            Some("client-credentials") => {
                refuse_unsupported(place, &["in", "origin", "tokenUrl", "clientId", "scope"])?;
                Self::ClientCredentials {
                    token_url_setting: setting_name("tokenUrl")?,
                    client_id_setting: setting_name("clientId")?,
                    scope: read_string(place, "scope")?.map(str::to_owned),
                }
            }
            _ => {
                return Err(SchemaError::at_keyword(
                    "in",
                    "must be one of bearer, header, basic, query, json, form, client-credentials",
                ));
            }
        })
    }
}

/// Reads a JSON pointer to a member of the body, such as `/user/password`.
fn read_pointer(place: &Map<String, Value>) -> Result<String, SchemaError> {
    let pointer = read_required_string(place, "pointer")?;
    let is_escaped = pointer.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if !pointer.starts_with('/') || !is_escaped {
        return Err(SchemaError::at_keyword(
            "pointer",
            "must be a JSON pointer such as \"/password\"",
        ));
    }
    Ok(pointer.to_owned())
}

fn read_header(place: &Map<String, Value>) -> Result<SecretPlace, SchemaError> {
    let name = read_required_string(place, "name")?;
    let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) else {
        return Err(SchemaError::at_keyword("name", "is not a valid header name"));
    };
    let name = name.as_str().to_owned();
    if EXCHANGE_HEADERS.contains(&name.as_str()) {
        let problem = format!("must not be {name:?}: only the host sets this header");
        return Err(SchemaError::at_keyword("name", problem));
    }
    let prefix = read_string(place, "prefix")?.unwrap_or_default().to_owned();
    if http::HeaderValue::from_str(&prefix).is_err() {
        return Err(SchemaError::at_keyword(
            "prefix",
            "has characters that a header must not contain",
        ));
    }
    Ok(SecretPlace::Header { name, prefix })
}

/// Returns the setting that `origin` names, or else the only setting that is an origin.
fn read_origin_setting(
    place: &Map<String, Value>,
    settings: &BTreeMap<String, DeclaredSetting>,
) -> Result<String, SchemaError> {
    let mut origins = settings.iter().filter(|(_, setting)| setting.is_origin);
    if let Some(named) = read_string(place, "origin")? {
        return match origins.find(|(name, _)| *name == named) {
            Some((name, _)) => Ok(name.clone()),
            None => Err(SchemaError::at_keyword(
                "origin",
                format!("names {}, which is not a \"jackfield:origin\"", quote_name(named)),
            )),
        };
    }
    match (origins.next(), origins.next()) {
        (Some((name, _)), None) => Ok(name.clone()),
        (None, _) => Err(SchemaError::new("requires a setting with \"jackfield:origin\": true")),
        _ => Err(SchemaError::at_keyword(
            "origin",
            "is required, because several settings have \"jackfield:origin\": true",
        )),
    }
}
