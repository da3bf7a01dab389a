//! What a connector asks for under given settings: origins, and a place for each secret.

use serde_json::{Map, Value};

use crate::domain::{Grants, Origin, SecretGrant, SecretPlace, Settings};

use super::settings::{is_secret, properties};
use super::{Manifest, SettingsProblem};

/// Headers that belong to the exchange itself; a secret never replaces them.
const EXCHANGE_HEADERS: &[&str] =
    &["host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade"];

/// A secret's place as the manifest writes it: some parts are names of settings.
pub(super) struct Place {
    /// The setting that names the origin that gets the secret.
    origin: String,
    kind: PlaceKind,
}

enum PlaceKind {
    Ready(SecretPlace),
    Basic { user: String },
    ClientCredentials { token_url: String, client_id: String, scope: Option<String> },
}

impl Manifest {
    /// What the connector asks for with these settings.
    ///
    /// # Errors
    /// The settings that are no origin or address although they must be one.
    pub fn demands(&self, settings: &Settings) -> Result<Grants, Vec<SettingsProblem>> {
        let all = properties(&self.settings_schema);
        let mut grants = Grants::default();
        let mut problems = Vec::new();
        for (name, property) in all.iter().filter_map(objects).filter(|(_, p)| is_origin(p)) {
            match origin_of(name, property, settings) {
                Ok(Some(origin)) => add_origin(&mut grants, origin, property, settings.get(name)),
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        for (name, property) in all.iter().filter_map(objects).filter(|(_, p)| is_secret(p)) {
            match secret_grant(name, property, all, settings) {
                Ok(Some(grant)) => {
                    grants.fixed.extend(chosen_token_origin(&grant.place, property, all, settings));
                    grants.secrets.insert(name.clone(), grant);
                }
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(grants) } else { Err(problems) }
    }
}

/// What `demanded` asks beyond `granted`, in words; empty where nothing is new.
pub(crate) fn covers(granted: &Grants, demanded: &Grants) -> Vec<String> {
    let origins = demanded
        .origins
        .iter()
        .filter(|origin| !granted.origins.contains(origin))
        .map(|origin| format!("reach {origin}"));
    let secrets = demanded
        .secrets
        .iter()
        .filter(|(name, grant)| granted.secrets.get(*name) != Some(grant))
        .map(|(name, grant)| {
            format!("send the secret `{name}` to {} {}", grant.origin, words(&grant.place))
        });
    origins.chain(secrets).collect()
}

/// Whether the setting is a base address.
pub(super) fn is_origin(property: &Map<String, Value>) -> bool {
    property.get("jackfield:origin") == Some(&Value::Bool(true))
}

/// The address that the connector itself chose: its `const`, or the `default` that it falls back to.
pub(super) fn fixed_origin(property: &Map<String, Value>) -> Option<&str> {
    property.get("const").or_else(|| property.get("default")).and_then(Value::as_str)
}

/// Whether the connector lists what the setting may be, so that a person only agrees to it.
fn is_chosen(property: &Map<String, Value>) -> bool {
    property.contains_key("const") || property.contains_key("enum")
}

impl Place {
    /// Reads `jackfield:place` of a secret among all settings.
    pub(super) fn read(place: &Value, all: &Map<String, Value>) -> Result<Self, String> {
        let Value::Object(place) = place else {
            return Err("\"jackfield:place\" must be an object".into());
        };
        let kind = PlaceKind::read(place, all)?;
        Ok(Self { origin: origin_setting(place, all)?, kind })
    }
}

impl PlaceKind {
    fn read(place: &Map<String, Value>, all: &Map<String, Value>) -> Result<Self, String> {
        let allowed: &[&str] = match text(place, "in")?.unwrap_or_default() {
            "bearer" | "placeholder" => &[],
            "header" => &["name", "prefix"],
            "basic" => &["user"],
            "query" => &["name"],
            "client-credentials" => &["tokenUrl", "clientId", "scope"],
            _ => {
                return Err(
                    "\"jackfield:place\" has \"in\": one of bearer, header, basic, query, \
                            placeholder, client-credentials"
                        .into(),
                );
            }
        };
        let known = |word: &str| matches!(word, "in" | "origin") || allowed.contains(&word);
        if let Some(word) = place.keys().find(|word| !known(word)) {
            return Err(format!("\"jackfield:place\" of this kind may not use {word:?}"));
        }
        let ready = match text(place, "in")?.unwrap_or_default() {
            "bearer" => SecretPlace::Bearer,
            "placeholder" => SecretPlace::Placeholder,
            "query" => SecretPlace::Query { name: needed(place, "name")?.to_owned() },
            "header" => header(place)?,
            "basic" => match text(place, "user")? {
                None => SecretPlace::Basic { user: None },
                Some(user) => return Ok(Self::Basic { user: plain_setting(user, all)? }),
            },
            _ => {
                return Ok(Self::ClientCredentials {
                    token_url: plain_setting(needed(place, "tokenUrl")?, all)?,
                    client_id: plain_setting(needed(place, "clientId")?, all)?,
                    scope: text(place, "scope")?.map(str::to_owned),
                });
            }
        };
        Ok(Self::Ready(ready))
    }
}

fn header(place: &Map<String, Value>) -> Result<SecretPlace, String> {
    let given = needed(place, "name")?;
    let name = http::HeaderName::from_bytes(given.as_bytes())
        .map_err(|_| format!("{given:?} is no name of a header"))?
        .as_str()
        .to_owned();
    if EXCHANGE_HEADERS.contains(&name.as_str()) {
        return Err(format!("the header {name:?} is the host's own"));
    }
    let prefix = text(place, "prefix")?.unwrap_or_default().to_owned();
    http::HeaderValue::from_str(&prefix).map_err(|_| "\"prefix\" does not fit a header")?;
    Ok(SecretPlace::Header { name, prefix })
}

fn text<'p>(place: &'p Map<String, Value>, word: &str) -> Result<Option<&'p str>, String> {
    match place.get(word) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("\"{word}\" of \"jackfield:place\" must be a text")),
    }
}

fn needed<'p>(place: &'p Map<String, Value>, word: &str) -> Result<&'p str, String> {
    text(place, word)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| format!("\"jackfield:place\" needs \"{word}\""))
}

fn plain_setting(name: &str, all: &Map<String, Value>) -> Result<String, String> {
    match all.get(name).and_then(Value::as_object) {
        Some(property) if !is_secret(property) => Ok(name.to_owned()),
        _ => Err(format!("\"jackfield:place\" names {name:?}, which is no plain setting")),
    }
}

/// The setting of the origin that gets a secret: the one named, or the only one.
fn origin_setting(place: &Map<String, Value>, all: &Map<String, Value>) -> Result<String, String> {
    let mut origins = all.iter().filter_map(objects).filter(|(_, p)| is_origin(p));
    if let Some(named) = text(place, "origin")? {
        return match origins.find(|(name, _)| *name == named) {
            Some(_) => Ok(named.to_owned()),
            None => Err(format!("\"origin\" names {named:?}, which is no \"jackfield:origin\"")),
        };
    }
    match (origins.next(), origins.next()) {
        (Some((name, _)), None) => Ok(name.clone()),
        (None, _) => Err("a secret needs a setting with \"jackfield:origin\": true".into()),
        _ => Err("there are several origins: say \"origin\" in \"jackfield:place\"".into()),
    }
}

fn objects<'p>(
    (name, property): (&'p String, &'p Value),
) -> Option<(&'p String, &'p Map<String, Value>)> {
    Some((name, property.as_object()?))
}

fn origin_of(
    name: &str,
    property: &Map<String, Value>,
    settings: &Settings,
) -> Result<Option<Origin>, SettingsProblem> {
    let given = settings.get(name).and_then(Value::as_str).or_else(|| fixed_origin(property));
    let parsed = given.map(str::parse::<Origin>).transpose();
    parsed.map_err(|error| SettingsProblem { name: name.to_owned(), why: error.to_string() })
}

fn add_origin(
    grants: &mut Grants,
    origin: Origin,
    property: &Map<String, Value>,
    given: Option<&Value>,
) {
    // An address that no person wrote is the connector's choice.
    let fixed = is_chosen(property) || given.is_none();
    if fixed && !grants.fixed.contains(&origin) {
        grants.fixed.push(origin.clone());
    }
    if !grants.origins.contains(&origin) {
        grants.origins.push(origin);
    }
}

/// Where a secret goes; `None` while a setting that says so is absent.
fn secret_grant(
    name: &str,
    property: &Map<String, Value>,
    all: &Map<String, Value>,
    settings: &Settings,
) -> Result<Option<SecretGrant>, SettingsProblem> {
    let problem = |name: &str, why: String| SettingsProblem { name: name.to_owned(), why };
    let Some(place) = property.get("jackfield:place") else { return Ok(None) };
    let place = Place::read(place, all).map_err(|why| problem(name, why))?;
    let Some(holder) = all.get(&place.origin).and_then(Value::as_object) else { return Ok(None) };
    let Some(origin) = origin_of(&place.origin, holder, settings)? else { return Ok(None) };
    let value = |setting: &str| value_of(setting, all, settings);
    let place = match place.kind {
        PlaceKind::Ready(ready) => ready,
        PlaceKind::Basic { user } => {
            let Some(login) = value(&user) else { return Ok(None) };
            SecretPlace::Basic { user: Some(login) }
        }
        PlaceKind::ClientCredentials { token_url, client_id, scope } => {
            let Some((address, client_id)) = value(&token_url).zip(value(&client_id)) else {
                return Ok(None);
            };
            let address = url::Url::parse(&address)
                .map_err(|error| problem(&token_url, format!("it is no address: {error}")))?;
            Origin::of(&address).map_err(|error| problem(&token_url, error.to_string()))?;
            SecretPlace::ClientCredentials { token_url: address, client_id, scope }
        }
    };
    Ok(Some(SecretGrant { origin, place }))
}

/// The origin that gives tokens, where the connector chose it: like every fixed one it must be public.
fn chosen_token_origin(
    place: &SecretPlace,
    property: &Map<String, Value>,
    all: &Map<String, Value>,
    settings: &Settings,
) -> Option<Origin> {
    let SecretPlace::ClientCredentials { token_url, .. } = place else { return None };
    let named = property.get("jackfield:place")?.get("tokenUrl")?.as_str()?;
    let is_chosen = all.get(named).and_then(Value::as_object).is_some_and(is_chosen);
    let given = settings.get(named).and_then(Value::as_str);
    let by_a_person = given.is_some_and(|given| url::Url::parse(given).as_ref() == Ok(token_url));
    if by_a_person && !is_chosen { None } else { Origin::of(token_url).ok() }
}

/// A setting's text, or what the connector uses where it is not set.
fn value_of(name: &str, all: &Map<String, Value>, settings: &Settings) -> Option<String> {
    let given = settings.get(name).and_then(Value::as_str);
    let own = || all.get(name).and_then(Value::as_object).and_then(fixed_origin);
    given.or_else(own).map(str::to_owned)
}

/// A place in words, all of it: two that differ read differently.
pub(crate) fn words(place: &SecretPlace) -> String {
    match place {
        SecretPlace::Bearer => "as bearer token".to_owned(),
        SecretPlace::Header { name, prefix } if prefix.is_empty() => {
            format!("in the header {name}")
        }
        SecretPlace::Header { name, prefix } => format!("in the header {name} after {prefix:?}"),
        SecretPlace::Basic { user: Some(user) } => format!("as password of {user}"),
        SecretPlace::Basic { user: None } => "as user of basic authentication".to_owned(),
        SecretPlace::Query { name } => format!("in the query parameter {name}"),
        SecretPlace::Placeholder => "where the connector writes its placeholder".to_owned(),
        SecretPlace::ClientCredentials { token_url, client_id, scope } => {
            let scope = scope.as_deref().map(|scope| format!(" for {scope:?}")).unwrap_or_default();
            format!("as a token that {token_url} gives to {client_id}{scope}")
        }
    }
}
