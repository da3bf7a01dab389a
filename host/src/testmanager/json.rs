//! Reads JSON whose schema is only partly known. The readers accept any case of a name, several
//! names for one member, missing members, nulls, and numbers as text. A value that cannot be read
//! is `None`, never an error.

use serde_json::Value;

/// Tries the names in their order, and returns the first member that is present and not null.
pub(super) fn find_member<'a>(value: &'a Value, names: &[&str]) -> Option<&'a Value> {
    let members = value.as_object()?;
    names.iter().find_map(|name| {
        let found = members.get(*name).or_else(|| {
            members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        });
        found.filter(|value| !value.is_null())
    })
}

/// Returns a member as text; `None` if the member is missing, null, a blank text, a list or an
/// object.
pub(super) fn text_member(value: &Value, names: &[&str]) -> Option<String> {
    let text = match find_member(value, names)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(boolean) => boolean.to_string(),
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

/// Returns a member as text; a list or an object becomes its JSON text.
pub(super) fn json_text_member(value: &Value, names: &[&str]) -> Option<String> {
    let json =
        || find_member(value, names).filter(|found| !found.is_string()).map(Value::to_string);
    text_member(value, names).or_else(json)
}

/// Returns a member as a number that is not negative.
pub(super) fn number_member(value: &Value, names: &[&str]) -> Option<u64> {
    match find_member(value, names)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

pub(super) fn boolean_member(value: &Value, names: &[&str]) -> Option<bool> {
    match find_member(value, names)? {
        Value::Bool(boolean) => Some(*boolean),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Returns the items of a list. The list may be a member of a page object. Returns `None` if there
/// is no list.
pub(super) fn list_items(value: &Value) -> Option<&Vec<Value>> {
    value
        .as_array()
        .or_else(|| find_member(value, &["data", "items", "value", "results"])?.as_array())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_found_by_any_name_in_any_case() {
        let value = json!({"Name": "a", "b": null, "c": " ", "n": 7, "t": "True", "o": {"x": 1}});
        assert_eq!(text_member(&value, &["b", "name"]), Some("a".to_owned()));
        assert_eq!(text_member(&value, &["b"]), None);
        assert_eq!(text_member(&value, &["c"]), None);
        assert_eq!(text_member(&value, &["n"]), Some("7".to_owned()));
        assert_eq!(text_member(&value, &["o"]), None);
        assert_eq!(json_text_member(&value, &["o"]), Some(r#"{"x":1}"#.to_owned()));
        assert_eq!(json_text_member(&value, &["c"]), None);
        assert_eq!(
            (number_member(&value, &["n"]), number_member(&value, &["Name"])),
            (Some(7), None)
        );
        assert_eq!(
            (boolean_member(&value, &["T"]), boolean_member(&value, &["n"])),
            (Some(true), None)
        );
        assert_eq!(text_member(&json!([1]), &["n"]), None);
    }

    #[test]
    fn a_list_may_be_inside_a_page() {
        assert_eq!(list_items(&json!([1, 2])).map(Vec::len), Some(2));
        assert_eq!(list_items(&json!({"data": [1]})).map(Vec::len), Some(1));
        assert_eq!(list_items(&json!({"Items": []})).map(Vec::len), Some(0));
        assert_eq!(list_items(&json!({"data": null})), None);
        assert_eq!(list_items(&json!("x")), None);
    }
}
