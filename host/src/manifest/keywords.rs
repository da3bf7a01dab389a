//! Reads the keywords of one object in a settings schema. Each error contains the name of the
//! keyword.

use serde_json::{Map, Value};

use super::SchemaError;

/// Maximum length of a name from the connector that an error message quotes, characters.
const QUOTED_CHARS_MAX: usize = 64;

/// Refuses every keyword that is not supported.
pub(super) fn refuse_unsupported(
    object: &Map<String, Value>,
    supported: &[&str],
) -> Result<(), SchemaError> {
    match object.keys().find(|keyword| !supported.contains(&keyword.as_str())) {
        None => Ok(()),
        Some(keyword) => Err(SchemaError::new(format!(
            "has the keyword {}, which is not supported here; the supported keywords are {}",
            quoted(keyword),
            supported.join(", ")
        ))),
    }
}

/// Reads a keyword that is true or false; false if it is absent.
pub(super) fn read_boolean(
    object: &Map<String, Value>,
    keyword: &str,
) -> Result<bool, SchemaError> {
    match object.get(keyword) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(SchemaError::at(keyword, "must be true or false")),
    }
}

/// Reads a keyword that is a string.
pub(super) fn read_string<'o>(
    object: &'o Map<String, Value>,
    keyword: &str,
) -> Result<Option<&'o str>, SchemaError> {
    match object.get(keyword) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(SchemaError::at(keyword, "must be a string")),
    }
}

/// Reads a keyword that must be a string of at least one character.
pub(super) fn read_required_string<'o>(
    object: &'o Map<String, Value>,
    keyword: &str,
) -> Result<&'o str, SchemaError> {
    read_string(object, keyword)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| SchemaError::at(keyword, "is required"))
}

/// Quotes a name. Of a long name, quotes only the beginning.
pub(super) fn quoted(name: &str) -> String {
    let shown: String = name.chars().take(QUOTED_CHARS_MAX).collect();
    if shown.len() < name.len() { format!("{shown:?}…") } else { format!("{shown:?}") }
}
