//! Reads a settings schema: the settings and secrets that it declares, with their keywords.
//!
//! This module never follows a reference and never combines schemas, because that could make the
//! check of a value slow.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::domain::{Origin, Settings};

use super::keywords::{self, quote_name};
use super::place::PlaceTemplate;
use super::rules::Rules;
use super::{Manifest, SchemaError};

/// Maximum number of settings and secrets of one connector together.
pub(super) const SETTINGS_MAX: usize = 100;
/// Maximum length of the name of a setting or secret, bytes.
pub(super) const SETTING_NAME_BYTES_MAX: usize = 64;

/// The keywords that the settings schema itself may have.
const SCHEMA_KEYWORDS: &[&str] = &[
    "$schema",
    "$comment",
    "type",
    "title",
    "description",
    "properties",
    "required",
    "additionalProperties",
];
/// The keywords that a setting or secret may have.
const SETTING_KEYWORDS: &[&str] = &[
    "type",
    "title",
    "description",
    "default",
    "enum",
    "const",
    "format",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "examples",
    "writeOnly",
    "jackfield:place",
    "jackfield:origin",
    "jackfield:lookup",
];
/// Keywords that a secret must not have: they would show it or its possible values, or have no
/// meaning for a secret.
const KEYWORDS_REFUSED_FOR_SECRETS: &[&str] =
    &["default", "const", "enum", "items", "examples", "jackfield:origin", "jackfield:lookup"];

#[derive(Debug, Default)]
pub(super) struct Schema {
    /// The settings that are not secrets, by name.
    pub(super) settings: BTreeMap<String, DeclaredSetting>,
    pub(super) secrets: BTreeMap<String, DeclaredSecret>,
}

/// A setting whose value the connector reads.
#[derive(Debug)]
pub(super) struct DeclaredSetting {
    pub(super) is_required: bool,
    /// The title and the description, for a person who enters the value.
    pub(super) label: String,
    pub(super) rules: Rules,
    /// Whether the connector sends requests to this address (`jackfield:origin`).
    pub(super) is_origin: bool,
    /// Whether the schema lists the allowed values (`const`, `enum`).
    pub(super) has_listed_values: bool,
    /// The text if no value is entered: the keyword `const` or `default`.
    pub(super) fallback: Option<String>,
}

/// A setting whose value only the host reads (`writeOnly`).
#[derive(Debug)]
pub(super) struct DeclaredSecret {
    pub(super) is_required: bool,
    pub(super) place: PlaceTemplate,
}

pub(super) struct SettingText<'a> {
    pub(super) text: &'a str,
    /// Whether the connector chose the text: the schema lists it, or it is the fallback.
    pub(super) is_from_connector: bool,
}

impl Manifest {
    /// Returns, for each setting that is an origin, the entered address or else the fallback.
    #[must_use]
    pub(crate) fn addresses(&self, settings: &Settings) -> BTreeMap<String, String> {
        let origins = self.declared.settings.iter().filter(|(_, setting)| setting.is_origin);
        let address = |name: &String| {
            Some((name.clone(), self.declared.effective_text(name, settings)?.text.to_owned()))
        };
        origins.filter_map(|(name, _)| address(name)).collect()
    }
}

impl Schema {
    /// The entered text, or else the fallback.
    pub(super) fn effective_text<'a>(
        &'a self,
        name: &str,
        settings: &'a Settings,
    ) -> Option<SettingText<'a>> {
        let setting = self.settings.get(name)?;
        let entered = settings.get(name).and_then(Value::as_str);
        let text = entered.or(setting.fallback.as_deref())?;
        Some(SettingText {
            text,
            is_from_connector: setting.has_listed_values || entered.is_none(),
        })
    }

    /// Reads and checks a settings schema.
    ///
    /// # Errors
    /// The first error that is found.
    pub(super) fn read(schema: &Value) -> Result<Self, SchemaError> {
        let Value::Object(schema) = schema else {
            return Err(SchemaError::new("must be an object with \"type\": \"object\""));
        };
        keywords::refuse_unsupported(schema, SCHEMA_KEYWORDS)?;
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err(SchemaError::at_keyword("type", "must be \"object\""));
        }
        if schema.get("additionalProperties").is_some_and(|value| *value != Value::Bool(false)) {
            return Err(SchemaError::at_keyword("additionalProperties", "must be false"));
        }
        let no_properties = Map::new();
        let properties = match schema.get("properties") {
            Some(Value::Object(properties)) => properties,
            None => &no_properties,
            Some(_) => return Err(SchemaError::at_keyword("properties", "must be an object")),
        };
        let required = required_names(schema, properties)?;
        Self::read_properties(properties, &required)
            .map_err(|error| error.within_member("properties"))
    }

    fn read_properties(
        properties: &Map<String, Value>,
        required: &BTreeSet<&str>,
    ) -> Result<Self, SchemaError> {
        let count = properties.len();
        if count > SETTINGS_MAX {
            let problem = format!("has {count} settings; at most {SETTINGS_MAX} are allowed");
            return Err(SchemaError::new(problem));
        }
        let mut schema = Self::default();
        let mut secrets = Vec::new();
        for (name, property) in properties {
            check_name(name)?;
            let property = property.as_object().ok_or("must be an object");
            let property = property.map_err(|problem| SchemaError::at_keyword(name, problem))?;
            if check_keywords(property).map_err(|error| error.within_member(name))? {
                secrets.push((name, property));
            } else {
                let is_required = required.contains(name.as_str());
                let setting = DeclaredSetting::read(property, is_required);
                let setting = setting.map_err(|error| error.within_member(name))?;
                schema.settings.insert(name.clone(), setting);
            }
        }
        // Read after the settings, because the place of a secret may contain names of settings.
        for (name, property) in secrets {
            let place = read_secret_place(property, &schema.settings);
            let place = place.map_err(|error| error.within_member(name))?;
            let is_required = required.contains(name.as_str());
            schema.secrets.insert(name.clone(), DeclaredSecret { is_required, place });
        }
        Ok(schema)
    }
}

impl DeclaredSetting {
    fn read(property: &Map<String, Value>, is_required: bool) -> Result<Self, SchemaError> {
        if property.contains_key("jackfield:place") {
            return Err(SchemaError::at_keyword("jackfield:place", "requires \"writeOnly\": true"));
        }
        let rules = Rules::compile(property)?;
        let fallback = property.get("const").or_else(|| property.get("default"));
        let fallback = fallback.and_then(Value::as_str).map(str::to_owned);
        let is_origin = keywords::read_boolean(property, "jackfield:origin")?;
        if is_origin {
            require_string_type(property, "because it has \"jackfield:origin\"")?;
            if let Some(Err(error)) = fallback.as_deref().map(str::parse::<Origin>) {
                let keyword = if property.contains_key("const") { "const" } else { "default" };
                return Err(SchemaError::at_keyword(
                    keyword,
                    format!("is not an origin: {}", error.why),
                ));
            }
        }
        let has_listed_values = property.contains_key("const") || property.contains_key("enum");
        Ok(Self {
            is_required,
            label: title_and_description(property),
            rules,
            is_origin,
            has_listed_values,
            fallback,
        })
    }
}

fn required_names<'s>(
    schema: &'s Map<String, Value>,
    properties: &Map<String, Value>,
) -> Result<BTreeSet<&'s str>, SchemaError> {
    let Some(required) = schema.get("required") else { return Ok(BTreeSet::new()) };
    let names: Option<BTreeSet<&str>> =
        required.as_array().and_then(|names| names.iter().map(Value::as_str).collect());
    let error = |problem: String| SchemaError::at_keyword("required", problem);
    let names = names.ok_or_else(|| error("must be an array of strings".to_owned()))?;
    match names.iter().find(|name| !properties.contains_key(**name)) {
        None => Ok(names),
        Some(name) => {
            Err(error(format!("names {}, which is not in \"properties\"", quote_name(name))))
        }
    }
}

fn check_name(name: &str) -> Result<(), SchemaError> {
    let is_valid = (1..=SETTING_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if is_valid {
        return Ok(());
    }
    Err(SchemaError::new(format!(
        "has the name {}; a name must have 1 to {SETTING_NAME_BYTES_MAX} of the characters \
         a-z, 0-9 and -",
        quote_name(name)
    )))
}

/// Checks that all keywords are supported, and that the boolean ones are true or false. Returns
/// whether the property is a secret.
fn check_keywords(property: &Map<String, Value>) -> Result<bool, SchemaError> {
    keywords::refuse_unsupported(property, SETTING_KEYWORDS)?;
    for keyword in ["jackfield:origin", "jackfield:lookup", "uniqueItems"] {
        keywords::read_boolean(property, keyword)?;
    }
    keywords::read_boolean(property, "writeOnly")
}

fn read_secret_place(
    property: &Map<String, Value>,
    settings: &BTreeMap<String, DeclaredSetting>,
) -> Result<PlaceTemplate, SchemaError> {
    require_string_type(property, "because it is a secret (\"writeOnly\")")?;
    if let Some(keyword) =
        KEYWORDS_REFUSED_FOR_SECRETS.iter().find(|keyword| property.contains_key(**keyword))
    {
        return Err(SchemaError::at_keyword(
            keyword,
            "is not allowed for a secret (\"writeOnly\")",
        ));
    }
    let place = property.get("jackfield:place").ok_or_else(|| {
        SchemaError::at_keyword(
            "jackfield:place",
            "is required: it defines where the host puts the secret",
        )
    })?;
    PlaceTemplate::read(place, settings).map_err(|error| error.within_member("jackfield:place"))
}

/// `why` completes the error text.
fn require_string_type(property: &Map<String, Value>, why: &str) -> Result<(), SchemaError> {
    match property.get("type").and_then(Value::as_str) {
        Some("string") => Ok(()),
        _ => Err(SchemaError::at_keyword("type", format!("must be \"string\", {why}"))),
    }
}

fn title_and_description(property: &Map<String, Value>) -> String {
    let text = |keyword| property.get(keyword).and_then(Value::as_str);
    match (text("title"), text("description")) {
        (Some(title), Some(description)) => format!("{title} ({description})"),
        (title, description) => title.or(description).unwrap_or_default().to_owned(),
    }
}
