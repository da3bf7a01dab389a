//! Reads JSON whose schema is known only in part: any case of a name, several names of a member,
//! missing members, nulls, numbers as text.

use serde_json::Value;

/// The first member with one of these names that is not null.
pub(super) fn member<'a>(value: &'a Value, names: &[&str]) -> Option<&'a Value> {
    let members = value.as_object()?;
    names.iter().find_map(|name| {
        let found = members.get(*name).or_else(|| {
            members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        });
        found.filter(|value| !value.is_null())
    })
}

/// A member as text that is not empty. Lists and objects are not text.
pub(super) fn text(value: &Value, names: &[&str]) -> Option<String> {
    let text = match member(value, names)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(word) => word.to_string(),
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

/// A member as JSON text; the answer may contain it as text or as JSON.
pub(super) fn json_text(value: &Value, names: &[&str]) -> Option<String> {
    text(value, names).or_else(|| member(value, names).map(Value::to_string))
}

/// A member as a number that is not negative.
pub(super) fn number(value: &Value, names: &[&str]) -> Option<u64> {
    match member(value, names)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A member as a truth value.
pub(super) fn flag(value: &Value, names: &[&str]) -> Option<bool> {
    match member(value, names)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The items of a list, with or without a page around it.
pub(super) fn items(value: &Value) -> Option<&Vec<Value>> {
    value.as_array().or_else(|| member(value, &["data", "items", "value", "results"])?.as_array())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_found_by_any_name_in_any_case() {
        let value = json!({"Name": "a", "b": null, "c": " ", "n": 7, "t": "True", "o": {"x": 1}});
        assert_eq!(text(&value, &["b", "name"]), Some("a".to_owned()));
        assert_eq!(text(&value, &["b"]), None);
        assert_eq!(text(&value, &["c"]), None);
        assert_eq!(text(&value, &["n"]), Some("7".to_owned()));
        assert_eq!(text(&value, &["o"]), None);
        assert_eq!(json_text(&value, &["o"]), Some(r#"{"x":1}"#.to_owned()));
        assert_eq!((number(&value, &["n"]), number(&value, &["Name"])), (Some(7), None));
        assert_eq!((flag(&value, &["T"]), flag(&value, &["n"])), (Some(true), None));
        assert_eq!(text(&json!([1]), &["n"]), None);
    }

    #[test]
    fn a_list_may_be_a_page() {
        assert_eq!(items(&json!([1, 2])).map(Vec::len), Some(2));
        assert_eq!(items(&json!({"data": [1]})).map(Vec::len), Some(1));
        assert_eq!(items(&json!({"Items": []})).map(Vec::len), Some(0));
        assert_eq!(items(&json!({"data": null})), None);
        assert_eq!(items(&json!("x")), None);
    }
}
