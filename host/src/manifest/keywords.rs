//! Reads the keywords of one object in a settings schema. An error never contains a long text of
//! the connector.

use serde_json::{Map, Value};

use super::SchemaError;

/// Maximum length of a name from the connector that an error message quotes, characters.
const QUOTED_CHARS_MAX: usize = 64;

pub(super) fn refuse_unsupported(
    object: &Map<String, Value>,
    supported: &[&str],
) -> Result<(), SchemaError> {
    match object.keys().find(|keyword| !supported.contains(&keyword.as_str())) {
        None => Ok(()),
        Some(keyword) => Err(SchemaError::new(format!(
            "has the keyword {}, which is not supported here; the supported keywords are {}",
            quote_name(keyword),
            supported.join(", ")
        ))),
    }
}

/// An absent keyword counts as false.
pub(super) fn read_boolean(
    object: &Map<String, Value>,
    keyword: &str,
) -> Result<bool, SchemaError> {
    match object.get(keyword) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(SchemaError::at_keyword(keyword, "must be true or false")),
    }
}

pub(super) fn read_string<'o>(
    object: &'o Map<String, Value>,
    keyword: &str,
) -> Result<Option<&'o str>, SchemaError> {
    match object.get(keyword) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(SchemaError::at_keyword(keyword, "must be a string")),
    }
}

/// The string must have at least one character.
pub(super) fn read_required_string<'o>(
    object: &'o Map<String, Value>,
    keyword: &str,
) -> Result<&'o str, SchemaError> {
    read_string(object, keyword)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| SchemaError::at_keyword(keyword, "is required"))
}

/// Quotes a name, or only the beginning of a long name.
pub(super) fn quote_name(name: &str) -> String {
    let shown: String = name.chars().take(QUOTED_CHARS_MAX).collect();
    if shown.len() < name.len() { format!("{shown:?}…") } else { format!("{shown:?}") }
}
