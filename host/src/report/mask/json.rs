//! Masks values in JSON texts, also in JSON that a text of the JSON contains. This module never
//! decides which names and patterns are those of secrets.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{MASK_TEXT, Mask};

/// A text in JSON may itself be JSON. At most this many such levels are masked value by value; a
/// text of JSON at a deeper level is masked as a whole.
pub(super) const CONTAINED_JSON_DEPTH_MAX: usize = 4;
/// The most matches of patterns that are searched for in JSON with masked values. If there are
/// more, the whole JSON is masked, because the time grows with their number.
pub(super) const CHECKED_MATCHES_MAX: usize = 100;

impl Mask {
    /// Masks values in a JSON text. A value is masked if its member has the name of a secret. The
    /// member `value` is also masked if the member `name` or `key` of the same object contains the
    /// name of a secret. JSON in a text of the JSON is masked in the same way. Of all other texts
    /// and numbers, only the matches of patterns are masked.
    #[must_use]
    pub fn mask_arguments(&self, text: &str) -> String {
        let Ok(json) = serde_json::from_str::<Value>(text) else { return self.mask_text(text) };
        let mut masked = json.clone();
        self.mask_json(&mut masked, CONTAINED_JSON_DEPTH_MAX);
        let is_unchanged = masked == json && has_same_bytes(text, &json.to_string());
        if is_unchanged { text.to_owned() } else { masked.to_string() }
    }

    /// Masks values in parsed JSON. The recursion is limited, because serde_json limits how deeply
    /// a text may be nested, and JSON in texts is masked only `depth_left` levels deep.
    fn mask_json(&self, value: &mut Value, depth_left: usize) {
        match value {
            Value::String(text) => *text = self.mask_text_in_json(text, depth_left),
            Value::Array(items) => {
                items.iter_mut().for_each(|item| self.mask_json(item, depth_left));
            }
            Value::Object(members) => {
                // An argument may be an object: {"name": "in_Password", "value": "x"}
                let name = ["name", "Name", "key", "Key"].iter().find_map(|key| members.get(*key));
                let has_secret_name =
                    name.and_then(Value::as_str).is_some_and(|name| self.is_secret_name(name));
                for (name, value) in members {
                    let is_value = has_secret_name && name.eq_ignore_ascii_case("value");
                    if (is_value || self.is_secret_name(name)) && !value.is_null() {
                        *value = Value::String(MASK_TEXT.to_owned());
                    } else {
                        self.mask_json(value, depth_left);
                    }
                }
            }
            Value::Number(number) => {
                let digits = number.to_string();
                if self.patterns.iter().any(|pattern| pattern.is_match(&digits)) {
                    *value = Value::String(self.mask_text(&digits));
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Masks a text in JSON. If the text is itself JSON with a value to mask, returns this JSON
    /// with masked values, or `***` if it is too deep or a match of a pattern could remain in it.
    /// Otherwise only masks the matches of patterns.
    fn mask_text_in_json(&self, text: &str, depth_left: usize) -> String {
        let Ok(json @ (Value::Object(_) | Value::Array(_) | Value::String(_))) =
            serde_json::from_str(text)
        else {
            return self.mask_text(text);
        };
        let Some(depth_left) = depth_left.checked_sub(1) else { return MASK_TEXT.to_owned() };
        let mut masked = json.clone();
        self.mask_json(&mut masked, depth_left);
        if masked != json {
            let masked = masked.to_string();
            let may_remain = self.match_may_remain(text, &masked);
            return if may_remain { MASK_TEXT.to_owned() } else { masked };
        }
        // Of members with the same name, parsing keeps the last one. The others were not checked.
        let canonical = json.to_string();
        let may_hide_secret = self.is_secret_name(text) && !has_same_bytes(text, &canonical);
        self.mask_text(if may_hide_secret { &canonical } else { text })
    }

    /// Whether `masked` may still contain what a pattern of the connection matches in `text`, the
    /// same JSON before its values were masked. A pattern may match across several members, and
    /// `masked` has another order of members, other white space and fewer digits of long numbers.
    fn match_may_remain(&self, text: &str, masked: &str) -> bool {
        let matches = self.patterns.iter().flat_map(|pattern| pattern.captures_iter(text));
        let values = matches.filter_map(|found| {
            let value = found.name("value").or_else(|| found.get(0))?;
            Some(value.as_str().trim_matches(|c: char| !c.is_alphanumeric()))
        });
        let mut checked = BTreeSet::new();
        let has_lost_digits = |value: &str| {
            value.parse::<f64>().is_ok()
                && value.parse::<u64>().is_err()
                && value.parse::<i64>().is_err()
        };
        for value in values.filter(|value| !value.is_empty()) {
            let is_new = checked.insert(value);
            let remains = is_new && (masked.contains(value) || has_lost_digits(value));
            if remains || checked.len() > CHECKED_MATCHES_MAX {
                return true;
            }
        }
        false
    }
}

/// Returns whether two texts have the same bytes in any order, without white space.
fn has_same_bytes(one: &str, other: &str) -> bool {
    let count = |text: &str| {
        let mut counts = vec![0_usize; 256];
        for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
            if let Some(count) = counts.get_mut(usize::from(byte)) {
                *count += 1;
            }
        }
        counts
    };
    count(one) == count(other)
}
