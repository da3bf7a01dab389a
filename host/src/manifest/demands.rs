//! What a connector asks for, in words, before a person has entered a setting.

use serde_json::Value;

use super::Manifest;
use super::grants::describe_place;
use super::place::PlaceKind;

/// What a connector asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demands {
    /// Where it sends requests, as phrases such as `the address of the setting url`.
    pub origins: Vec<String>,
    /// Each secret, and where it goes.
    pub secrets: Vec<(String, String)>,
}

/// A setting or a secret, for a person who enters it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredValue {
    /// Its name.
    pub name: String,
    /// Its title and description.
    pub label: String,
    /// Whether a connection needs it.
    pub is_required: bool,
    /// Whether only the host reads it.
    pub is_secret: bool,
    /// Whether the connector lists its values.
    pub has_choices: bool,
}

impl Manifest {
    /// Where the connector sends requests, and where each secret goes.
    #[must_use]
    pub fn demands(&self) -> Demands {
        let origins = self.schema.settings.iter().filter(|(_, setting)| setting.is_origin);
        let mut origins: Vec<_> = origins.map(|(name, _)| self.address(name)).collect();
        let mut secrets = Vec::new();
        for (name, secret) in &self.schema.secrets {
            let place = match &secret.place.kind {
                PlaceKind::Fixed(place) => describe_place(place),
                PlaceKind::BasicPassword { user_setting } => {
                    format!("as the password of the user `{user_setting}` (basic authentication)")
                }
                PlaceKind::ClientCredentials { token_url_setting, client_id_setting, scope } => {
                    let issuer = self.address(token_url_setting);
                    let scope = scope.as_deref().map(|scope| format!(" and scope {scope:?}"));
                    origins.push(format!("{issuer}, for tokens"));
                    format!(
                        "as a token from {issuer} for the client id `{client_id_setting}`{}",
                        scope.unwrap_or_default()
                    )
                }
            };
            let to = self.address(&secret.place.origin_setting);
            secrets.push((name.clone(), format!("to {to} {place}")));
        }
        Demands { origins, secrets }
    }

    /// The settings and secrets, the required ones first.
    #[must_use]
    pub fn declared_values(&self) -> Vec<DeclaredValue> {
        let text = |name: &str, keyword: &str| {
            let property = self.settings_schema.get("properties")?.get(name)?;
            property.get(keyword)?.as_str().map(str::to_owned)
        };
        let value = |name: &String, is_required: bool, is_secret: bool| {
            let property = self.settings_schema.get("properties").and_then(|it| it.get(name));
            let lookup = property.and_then(|it| it.get("jackfield:lookup"));
            DeclaredValue {
                label: text(name, "title")
                    .or_else(|| text(name, "description"))
                    .unwrap_or_default(),
                name: name.clone(),
                is_required,
                is_secret,
                has_choices: lookup.and_then(Value::as_bool).unwrap_or(false),
            }
        };
        let settings = self.schema.settings.iter();
        let settings = settings.map(|(name, setting)| value(name, setting.is_required, false));
        let secrets = self.schema.secrets.iter();
        let secrets = secrets.map(|(name, secret)| value(name, secret.is_required, true));
        let mut all: Vec<_> = settings.chain(secrets).collect();
        all.sort_by_key(|it| !it.is_required);
        all
    }

    /// Whether the connector lists values of this setting.
    #[must_use]
    pub fn looks_up(&self, setting: &str) -> bool {
        self.declared_values().iter().any(|it| it.name == setting && it.has_choices)
    }

    /// The address of a setting: its only value, its values, or the name of the setting.
    fn address(&self, name: &str) -> String {
        let property = self.settings_schema.get("properties").and_then(|it| it.get(name));
        let member = |keyword: &str| property.and_then(|it| it.get(keyword));
        if let Some(only) = member("const").and_then(Value::as_str) {
            return only.to_owned();
        }
        let listed = member("enum").and_then(Value::as_array);
        let listed: Option<Vec<_>> = listed.map(|it| it.iter().filter_map(Value::as_str).collect());
        let or = match (listed, member("default").and_then(Value::as_str)) {
            (Some(values), _) => format!(" (one of {})", values.join(", ")),
            (None, Some(default)) => format!(" ({default} if it is not set)"),
            (None, None) => String::new(),
        };
        format!("the address of the setting `{name}`{or}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::RawManifest;

    fn manifest(settings: &Value) -> Manifest {
        let raw = RawManifest {
            name: "n".to_owned(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            homepage: None,
            settings: settings.to_string(),
            index_delay_seconds: None,
        };
        Manifest::read(&raw).expect("a manifest")
    }

    #[test]
    fn each_origin_and_the_place_of_each_secret_is_said_without_a_value() {
        let manifest = manifest(
            &json!({"type": "object", "required": ["url", "key"], "properties": {
                "url": {"type": "string", "jackfield:origin": true, "title": "Address"},
                "cloud": {"type": "string", "jackfield:origin": true, "const": "https://api.example.com"},
                "user": {"type": "string"},
                "site": {"type": "string", "enum": ["https://a.example", "https://b.example"]},
                "client": {"type": "string", "jackfield:lookup": true},
                "key": {"type": "string", "writeOnly": true,
                    "jackfield:place": {"in": "header", "name": "X-Key", "origin": "url"}},
                "password": {"type": "string", "writeOnly": true,
                    "jackfield:place": {"in": "basic", "user": "user", "origin": "cloud"}},
                "token": {"type": "string", "writeOnly": true, "jackfield:place": {
                    "in": "client-credentials", "tokenUrl": "site", "clientId": "client", "origin": "url"}},
            }}),
        );
        let demands = manifest.demands();
        let sites =
            "the address of the setting `site` (one of https://a.example, https://b.example)";
        assert_eq!(
            demands.origins,
            [
                "https://api.example.com",
                "the address of the setting `url`",
                &format!("{sites}, for tokens")
            ]
        );
        let of = |wanted: &str| {
            let found = demands.secrets.iter().find(|(name, _)| name == wanted);
            found.map(|(_, place)| place.as_str()).unwrap_or_default()
        };
        assert_eq!(of("key"), "to the address of the setting `url` in the header x-key");
        assert_eq!(
            of("password"),
            "to https://api.example.com as the password of the user `user` (basic authentication)"
        );
        assert_eq!(
            of("token"),
            format!(
                "to the address of the setting `url` as a token from {sites} for the client id `client`"
            )
        );
        let values = manifest.declared_values();
        let required: Vec<_> = values.iter().filter(|it| it.is_required).collect();
        assert_eq!(required.len(), 2, "{required:?}");
        assert!(required[0].label == "Address" && required[1].is_secret, "{required:?}");
        let choices: Vec<_> = values.iter().filter(|it| it.has_choices).collect();
        assert!(choices.len() == 1 && choices[0].name == "client", "{choices:?}");
    }
}
