//! Describes in words which origins and secrets a connector declares, before a person has entered a
//! setting.

use serde_json::Value;

use super::Manifest;
use super::grants::describe_place;
use super::place::PlaceKind;

/// The origins and secrets that a connector declares, described in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredAccess {
    /// The origins to which the connector sends requests, and those to which the host sends secrets
    /// to get a token. Each is a phrase, such as `the address of the setting url`.
    pub origins: Vec<String>,
    /// The name of each secret, and a phrase for its place in a request.
    pub secrets: Vec<(String, String)>,
}

/// A setting or a secret, for a person who enters it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredValue {
    /// The name of the setting or secret.
    pub name: String,
    /// The title, or else the description; empty if there is neither.
    pub label: String,
    /// Whether every connection must have a value.
    pub is_required: bool,
    /// Whether only the host reads the value.
    pub is_secret: bool,
    /// Whether the connector can list the values that the tracker has for the setting.
    pub has_choices: bool,
}

impl Manifest {
    /// Describes the origins and secrets that the connector declares.
    #[must_use]
    pub fn required_access(&self) -> RequiredAccess {
        let origins = self.declared.settings.iter().filter(|(_, setting)| setting.is_origin);
        let mut origins: Vec<_> = origins.map(|(name, _)| self.describe_address(name)).collect();
        let mut secrets = Vec::new();
        for (name, secret) in &self.declared.secrets {
            let place = match &secret.place.kind {
                PlaceKind::Fixed(place) => describe_place(place),
                PlaceKind::BasicPassword { user_setting } => {
                    format!("as the password of the user `{user_setting}` (basic authentication)")
                }
                PlaceKind::ClientCredentials { token_url_setting, client_id_setting, scope } => {
                    let issuer = self.describe_address(token_url_setting);
                    let scope = scope.as_deref().map(|scope| format!(" and scope {scope:?}"));
                    origins.push(format!("{issuer}, for tokens"));
                    format!(
                        "as a token from {issuer} for the client id `{client_id_setting}`{}",
                        scope.unwrap_or_default()
                    )
                }
            };
            let target = self.describe_address(&secret.place.origin_setting);
            secrets.push((name.clone(), format!("to {target} {place}")));
        }
        RequiredAccess { origins, secrets }
    }

    /// Returns the settings and the secrets, the required ones first.
    #[must_use]
    pub fn declared_values(&self) -> Vec<DeclaredValue> {
        let text = |name: &str, keyword: &str| {
            let property = self.settings_schema.get("properties")?.get(name)?;
            property.get(keyword)?.as_str().map(str::to_owned)
        };
        let declared_value = |name: &String, is_required: bool, is_secret: bool| {
            let property =
                self.settings_schema.get("properties").and_then(|properties| properties.get(name));
            let lookup = property.and_then(|property| property.get("jackfield:lookup"));
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
        let settings = self.declared.settings.iter();
        let settings =
            settings.map(|(name, setting)| declared_value(name, setting.is_required, false));
        let secrets = self.declared.secrets.iter();
        let secrets = secrets.map(|(name, secret)| declared_value(name, secret.is_required, true));
        let mut values: Vec<_> = settings.chain(secrets).collect();
        values.sort_by_key(|value| !value.is_required);
        values
    }

    /// Whether the connector can list the values that the tracker has for this setting.
    #[must_use]
    pub fn has_choices_for(&self, setting: &str) -> bool {
        self.declared_values().iter().any(|value| value.name == setting && value.has_choices)
    }

    /// The text is the only allowed value, or the name of the setting with its allowed or default
    /// values.
    fn describe_address(&self, name: &str) -> String {
        let property =
            self.settings_schema.get("properties").and_then(|properties| properties.get(name));
        let member = |keyword: &str| property.and_then(|property| property.get(keyword));
        if let Some(only_value) = member("const").and_then(Value::as_str) {
            return only_value.to_owned();
        }
        let allowed = member("enum").and_then(Value::as_array);
        let allowed: Option<Vec<_>> =
            allowed.map(|values| values.iter().filter_map(Value::as_str).collect());
        let details = match (allowed, member("default").and_then(Value::as_str)) {
            (Some(values), _) => format!(" (one of {})", values.join(", ")),
            (None, Some(default)) => format!(" ({default} if it is not set)"),
            (None, None) => String::new(),
        };
        format!("the address of the setting `{name}`{details}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::RawManifest;

    fn manifest_with_schema(settings: &Value) -> Manifest {
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
    fn the_required_access_contains_each_origin_and_the_place_of_each_secret() {
        let manifest = manifest_with_schema(
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
        let required_access = manifest.required_access();
        let sites =
            "the address of the setting `site` (one of https://a.example, https://b.example)";
        assert_eq!(
            required_access.origins,
            [
                "https://api.example.com",
                "the address of the setting `url`",
                &format!("{sites}, for tokens")
            ]
        );
        let place_of = |secret: &str| {
            let found = required_access.secrets.iter().find(|(name, _)| name == secret);
            found.map(|(_, place)| place.as_str()).unwrap_or_default()
        };
        assert_eq!(place_of("key"), "to the address of the setting `url` in the header x-key");
        assert_eq!(
            place_of("password"),
            "to https://api.example.com as the password of the user `user` (basic authentication)"
        );
        assert_eq!(
            place_of("token"),
            format!(
                "to the address of the setting `url` as a token from {sites} for the client id `client`"
            )
        );
        let values = manifest.declared_values();
        let required: Vec<_> = values.iter().filter(|value| value.is_required).collect();
        assert_eq!(required.len(), 2, "{required:?}");
        assert!(required[0].label == "Address" && required[1].is_secret, "{required:?}");
        let choices: Vec<_> = values.iter().filter(|value| value.has_choices).collect();
        assert!(choices.len() == 1 && choices[0].name == "client", "{choices:?}");
    }
}
