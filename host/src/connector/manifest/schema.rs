//! The settings schema: which words of JSON Schema it may use. Never follows a reference and never
//! combines schemas, so checking a value takes time linear in its size.

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value, json};

use crate::domain::Origin;

use super::demand::{Place, fixed_origin, is_origin};

const PROPERTIES_MAX: usize = 100;
/// Memory of one compiled `pattern`, in bytes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

const SCHEMA_WORDS: &[&str] = &[
    "$schema",
    "$comment",
    "type",
    "title",
    "description",
    "properties",
    "required",
    "additionalProperties",
];
const PROPERTY_WORDS: &[&str] = &[
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
const ITEM_WORDS: &[&str] = &["type", "enum"];
const TYPES: &[&str] = &["string", "number", "integer", "boolean", "array"];
const ITEM_TYPES: &[&str] = &["string", "number", "integer", "boolean"];

/// Checks a schema and makes the validator of the settings that are no secrets.
pub(super) fn check(schema: &Value) -> Result<Validator, String> {
    let Value::Object(schema) = schema else {
        return Err(
            "the manifest's settings are no JSON Schema: give an object with \"type\": \"object\""
                .into(),
        );
    };
    known_words("the settings", schema, SCHEMA_WORDS)?;
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err("the settings are no JSON Schema of an object: say \"type\": \"object\"".into());
    }
    if schema.get("additionalProperties").is_some_and(|more| more != &Value::Bool(false)) {
        return Err("the settings' \"additionalProperties\" must be false".into());
    }
    let empty = Map::new();
    let properties = match schema.get("properties") {
        Some(Value::Object(properties)) => properties,
        None => &empty,
        Some(_) => return Err("the settings' \"properties\" must be an object".into()),
    };
    if properties.len() > PROPERTIES_MAX {
        return Err(format!(
            "the manifest has {} settings; at most {PROPERTIES_MAX}",
            properties.len()
        ));
    }
    for (name, property) in properties {
        check_property(name, property, properties)
            .map_err(|why| format!("the setting {name:?}: {why}"))?;
    }
    let required = required_names(schema, properties)?;
    validator(properties, &required)
}

fn required_names<'s>(
    schema: &'s Map<String, Value>,
    properties: &Map<String, Value>,
) -> Result<Vec<&'s str>, String> {
    let Some(required) = schema.get("required") else { return Ok(Vec::new()) };
    let names: Option<Vec<&str>> =
        required.as_array().and_then(|names| names.iter().map(Value::as_str).collect());
    let names = names.ok_or("the settings' \"required\" must be an array of names")?;
    match names.iter().find(|name| !properties.contains_key(**name)) {
        Some(name) => Err(format!("\"required\" names {name:?}, which is no setting")),
        None => Ok(names),
    }
}

fn check_property(name: &str, property: &Value, all: &Map<String, Value>) -> Result<(), String> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        return Err("a setting's name has 1 to 64 of a-z, 0-9 and '-'".into());
    }
    let Value::Object(property) = property else { return Err("it must be an object".into()) };
    known_words("it", property, PROPERTY_WORDS)?;
    check_type(property, TYPES)?;
    for word in ["writeOnly", "jackfield:origin", "jackfield:lookup", "uniqueItems"] {
        if property.get(word).is_some_and(|flag| !flag.is_boolean()) {
            return Err(format!("\"{word}\" is true or false"));
        }
    }
    match property.get("items") {
        Some(Value::Object(items)) => {
            known_words("\"items\"", items, ITEM_WORDS)?;
            check_type(items, ITEM_TYPES)?;
        }
        Some(_) => return Err("\"items\" must be an object".into()),
        None => {}
    }
    check_origin(property)?;
    check_secret(property, all)
}

fn check_type(property: &Map<String, Value>, allowed: &[&str]) -> Result<(), String> {
    let fits = |kind: &Value| kind.as_str().is_some_and(|kind| allowed.contains(&kind));
    match property.get("type") {
        Some(kind) if fits(kind) => Ok(()),
        Some(Value::Array(kinds)) if !kinds.is_empty() && kinds.iter().all(fits) => Ok(()),
        // Then the values are listed, whatever their type.
        None if property.contains_key("enum") || property.contains_key("const") => Ok(()),
        _ => Err(format!("\"type\" must be one of {}", allowed.join(", "))),
    }
}

fn check_origin(property: &Map<String, Value>) -> Result<(), String> {
    if !is_origin(property) {
        return Ok(());
    }
    if property.get("type").and_then(Value::as_str) != Some("string") {
        return Err("an origin has \"type\": \"string\"".into());
    }
    match fixed_origin(property).map(str::parse::<Origin>) {
        Some(Err(error)) => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn check_secret(property: &Map<String, Value>, all: &Map<String, Value>) -> Result<(), String> {
    let place = property.get("jackfield:place");
    if !super::settings::is_secret(property) {
        return match place {
            Some(_) => Err("\"jackfield:place\" needs \"writeOnly\": true".into()),
            None => Ok(()),
        };
    }
    if property.get("type").and_then(Value::as_str) != Some("string") {
        return Err("a secret has \"type\": \"string\"".into());
    }
    for word in ["default", "const", "enum", "examples", "jackfield:origin", "jackfield:lookup"] {
        if property.contains_key(word) {
            return Err(format!("a secret has no \"{word}\""));
        }
    }
    let place = place.ok_or("a secret needs \"jackfield:place\": where the host puts it")?;
    Place::read(place, all).map(|_| ())
}

fn known_words(whose: &str, object: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match object.keys().find(|word| !known.contains(&word.as_str())) {
        Some(word) => {
            Err(format!("{whose} may not use {word:?}; the words are {}", known.join(", ")))
        }
        None => Ok(()),
    }
}

fn validator(properties: &Map<String, Value>, required: &[&str]) -> Result<Validator, String> {
    let plain = |name: &str| {
        properties
            .get(name)
            .and_then(Value::as_object)
            .is_some_and(|property| !super::settings::is_secret(property))
    };
    let shown: Map<String, Value> = properties
        .iter()
        .filter(|(name, _)| plain(name))
        .map(|(name, property)| (name.clone(), property.clone()))
        .collect();
    let required: Vec<&&str> = required.iter().filter(|name| plain(name)).collect();
    let schema = json!({
        "type": "object", "properties": shown, "required": required, "additionalProperties": false,
    });
    let patterns =
        PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::draft202012::options()
        .with_pattern_options(patterns)
        .should_validate_formats(true)
        .build(&schema)
        .map_err(|error| {
            format!("the manifest's settings are no usable JSON Schema: {}", error.masked())
        })
}
