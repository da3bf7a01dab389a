//! Compares JSON values as JSON Schema does: 1 equals 1.0, and the order of members does not
//! matter. Never converts a value to text.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Number, Value};

/// Returns whether two values are equal.
pub(super) fn is_equal(one: &Value, other: &Value) -> bool {
    compare(one, other).is_eq()
}

/// Returns a sorted copy, for [`contains`].
pub(super) fn sorted(values: &[Value]) -> Vec<Value> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(compare);
    sorted
}

/// Returns whether sorted values contain this one.
pub(super) fn contains(sorted: &[Value], value: &Value) -> bool {
    sorted.binary_search_by(|candidate| compare(candidate, value)).is_ok()
}

/// Returns whether an array contains a value twice. Sorts, since comparing each pair is quadratic.
pub(super) fn has_duplicate(items: &[Value]) -> bool {
    let mut sorted: Vec<&Value> = items.iter().collect();
    sorted.sort_unstable_by(|one, other| compare(one, other));
    sorted.windows(2).any(|pair| matches!(pair, [one, other] if is_equal(one, other)))
}

/// Returns the order of two numbers. It is exact even if a float cannot represent the integer.
pub(super) fn compare_numbers(one: &Number, other: &Number) -> Ordering {
    // JSON has no NaN, so there is always an order.
    parts(one).partial_cmp(&parts(other)).unwrap_or(Ordering::Equal)
}

/// Returns the number as an integer, if it is one: 2 and also 2.0.
pub(super) fn integer(number: &Number) -> Option<i128> {
    let (whole, rest) = parts(number);
    (rest == 0.0).then_some(whole)
}

/// Splits a number into whole part and remainder. These pairs have the same order as the numbers.
fn parts(number: &Number) -> (i128, f64) {
    if let Some(integer) = number.as_i128() {
        return (integer, 0.0);
    }
    let float = number.as_f64().unwrap_or_default();
    // This conversion is exact up to 2^127. It returns MIN or MAX for numbers that are larger, and
    // then the float itself decides.
    let whole = float as i128;
    let is_exact = whole != i128::MIN && whole != i128::MAX;
    (whole, if is_exact { float.fract() } else { float })
}

/// A total order in which equal values are neighbours; the order of types has no meaning.
fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::Number(one), Value::Number(other)) => compare_numbers(one, other),
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (Value::Array(one), Value::Array(other)) => first_difference(
            one.len().cmp(&other.len()),
            one.iter().zip(other).map(|(one, other)| compare(one, other)),
        ),
        (Value::Object(one), Value::Object(other)) => {
            let (one, other): (BTreeMap<_, _>, BTreeMap<_, _>) =
                (one.iter().collect(), other.iter().collect());
            let members = one.iter().zip(&other);
            first_difference(
                one.len().cmp(&other.len()),
                members.map(|(one, other)| one.0.cmp(other.0).then(compare(one.1, other.1))),
            )
        }
        _ => type_order(one).cmp(&type_order(other)),
    }
}

fn first_difference(length: Ordering, items: impl Iterator<Item = Ordering>) -> Ordering {
    length.then_with(|| items.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal))
}

fn type_order(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn equal_values_may_be_written_differently() {
        for (one, other) in [
            ("1", "1.0"),
            ("0", "-0.0"),
            ("100", "1e2"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551615", "18446744073709551615"),
            ("1e300", "1.0e300"),
            (r#"{"a":1,"b":[2]}"#, r#"{"b":[2.0],"a":1.0}"#),
            (r#""\u00fc""#, r#""ü""#),
        ] {
            assert!(is_equal(&value(one), &value(other)), "{one} {other}");
        }
        for (one, other) in [
            ("1", r#""1""#),
            ("1", "true"),
            ("0", "false"),
            ("null", "false"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
            (r#""a""#, r#""A""#),
            ("9007199254740993", "9007199254740992.0"),
            ("1e300", "1e301"),
        ] {
            assert!(!is_equal(&value(one), &value(other)), "{one} {other}");
        }
    }

    #[test]
    fn numbers_have_one_order() {
        let ascending = [
            "-1e300",
            "-1e200",
            "-170141183460469231731687303715884105728.0",
            "-9223372036854775808",
            "-1.5",
            "-1",
            "-0.5",
            "0",
            "1e-300",
            "0.5",
            "1",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "1e200",
            "1e300",
        ]
        .map(|text| serde_json::from_str::<Number>(text).unwrap());
        for (i, one) in ascending.iter().enumerate() {
            for (j, other) in ascending.iter().enumerate() {
                assert_eq!(compare_numbers(one, other), i.cmp(&j), "{one} {other}");
            }
        }
    }

    #[test]
    fn a_duplicate_is_found_among_mixed_types() {
        assert!(!has_duplicate(&[]));
        for (items, expected) in [
            (r#"[1,"1",true,null,[1],{"a":1},1.5]"#, false),
            (r#"["b",1,"a",1.0]"#, true),
            (r#"[{"a":1,"b":2},7,{"b":2,"a":1}]"#, true),
            ("[null,0,null]", true),
            ("[9007199254740992,9007199254740993,9007199254740992.0]", true),
        ] {
            assert_eq!(has_duplicate(value(items).as_array().unwrap()), expected, "{items}");
        }
        let many: Vec<Value> = (0..200_000).map(Value::from).collect();
        assert!(!has_duplicate(&many));
    }
}
