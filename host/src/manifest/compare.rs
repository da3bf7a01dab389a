//! Compares JSON values as JSON Schema does: 1 equals 1.0, and the order of members does not
//! matter.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Number, Value};

pub(super) fn is_equal(left: &Value, right: &Value) -> bool {
    compare(left, right).is_eq()
}

/// [`contains_value`] needs this order.
pub(super) fn sorted_copy(values: &[Value]) -> Vec<Value> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(compare);
    sorted
}

pub(super) fn contains_value(sorted: &[Value], value: &Value) -> bool {
    sorted.binary_search_by(|candidate| compare(candidate, value)).is_ok()
}

/// Sorts the items, because comparing each pair would take quadratic time.
pub(super) fn has_duplicate(items: &[Value]) -> bool {
    let mut sorted: Vec<&Value> = items.iter().collect();
    sorted.sort_unstable_by(|left, right| compare(left, right));
    sorted.windows(2).any(|pair| matches!(pair, [left, right] if is_equal(left, right)))
}

/// Exact even for an integer that a float cannot represent.
pub(super) fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    // JSON has no NaN, so two numbers always have an order.
    whole_and_remainder(left).partial_cmp(&whole_and_remainder(right)).unwrap_or(Ordering::Equal)
}

/// `None` if the number has a fraction or is too large. As in JSON Schema, 2.0 is an integer.
pub(super) fn as_integer(number: &Number) -> Option<i128> {
    let (whole, remainder) = whole_and_remainder(number);
    (remainder == 0.0).then_some(whole)
}

/// Splits a number into its whole part and the remainder. The pairs have the same order as the
/// numbers.
fn whole_and_remainder(number: &Number) -> (i128, f64) {
    if let Some(integer) = number.as_i128() {
        return (integer, 0.0);
    }
    let float = number.as_f64().unwrap_or_default();
    // This conversion is exact up to 2^127. For a larger number, it returns MIN or MAX. The
    // remainder is then the whole float, so that two such numbers still have an order.
    let whole = float as i128;
    let is_exact = whole != i128::MIN && whole != i128::MAX;
    (whole, if is_exact { float.fract() } else { float })
}

/// A total order in which equal values are side by side. The order of the types is arbitrary.
fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Array(left), Value::Array(right)) => first_difference(
            left.len().cmp(&right.len()),
            left.iter().zip(right).map(|(left, right)| compare(left, right)),
        ),
        (Value::Object(left), Value::Object(right)) => {
            let (left, right): (BTreeMap<_, _>, BTreeMap<_, _>) =
                (left.iter().collect(), right.iter().collect());
            let members = left.iter().zip(&right);
            first_difference(
                left.len().cmp(&right.len()),
                members.map(|(left, right)| left.0.cmp(right.0).then(compare(left.1, right.1))),
            )
        }
        _ => type_order(left).cmp(&type_order(right)),
    }
}

/// The order of the lengths or, for equal lengths, of the first items that differ.
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

    fn parse_json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn equal_values_may_have_different_texts() {
        for (left, right) in [
            ("1", "1.0"),
            ("0", "-0.0"),
            ("100", "1e2"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551615", "18446744073709551615"),
            ("1e300", "1.0e300"),
            (r#"{"a":1,"b":[2]}"#, r#"{"b":[2.0],"a":1.0}"#),
            (r#""\u00fc""#, r#""ü""#),
        ] {
            assert!(is_equal(&parse_json(left), &parse_json(right)), "{left} {right}");
        }
        for (left, right) in [
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
            assert!(!is_equal(&parse_json(left), &parse_json(right)), "{left} {right}");
        }
    }

    #[test]
    fn numbers_have_an_exact_order() {
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
        for (i, left) in ascending.iter().enumerate() {
            for (j, right) in ascending.iter().enumerate() {
                assert_eq!(compare_numbers(left, right), i.cmp(&j), "{left} {right}");
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
            assert_eq!(has_duplicate(parse_json(items).as_array().unwrap()), expected, "{items}");
        }
        let many: Vec<Value> = (0..200_000).map(Value::from).collect();
        assert!(!has_duplicate(&many));
    }
}
