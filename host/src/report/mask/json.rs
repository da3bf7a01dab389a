//! Masks values in JSON, also in strings that are themselves JSON. This module never decides which
//! names and patterns are those of secrets.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use super::{MASK_TEXT, Mask};

/// A text in JSON may itself be JSON. At most this many such levels are masked value by value; a
/// text of JSON at a deeper level is masked as a whole.
pub(super) const CONTAINED_JSON_DEPTH_MAX: usize = 4;
/// Maximum number of different matches of patterns that are searched for in JSON with masked
/// values. If there are more, the whole JSON is masked, because the time grows with their number.
pub(super) const CHECKED_MATCHES_MAX: usize = 100;

impl Mask {
    /// Masks values in a JSON text. A value, except null, is masked if its member has the name of a
    /// secret. The member `value` is also masked if the member `name` or `key` of the same object
    /// contains the name of a secret. JSON in a text of the JSON is masked in the same way. Of all
    /// other texts and numbers, only the matches of patterns are masked. Everything else stays as
    /// it is. If the text is not JSON, the matches of patterns are masked.
    #[must_use]
    pub fn mask_arguments(&self, text: &str) -> String {
        if serde_json::from_str::<Value>(text).is_err() {
            return self.mask_text(text);
        }
        self.mask_values(text, CONTAINED_JSON_DEPTH_MAX).unwrap_or_else(|| text.to_owned())
    }

    /// Replaces the values to mask in a text that serde_json can parse as a [`Value`]. Returns
    /// `None` if there is none.
    fn mask_values(&self, text: &str, depth_left: usize) -> Option<String> {
        let mut replaced = ReplacedText { text, copied: 0, result: String::new() };
        self.mask_value(serde_json::from_str(text).ok()?, depth_left, &mut replaced);
        replaced.into_result()
    }

    /// Replaces the values to mask in one value. The recursion is limited, because a [`Value`] has
    /// a limit on nesting, and JSON in texts is masked only `depth_left` levels deep.
    fn mask_value<'t>(
        &self,
        value: &'t RawValue,
        depth_left: usize,
        replaced: &mut ReplacedText<'t>,
    ) {
        let json = value.get();
        if let Ok(Members(members)) = serde_json::from_str(json) {
            // An argument may be an object: {"name": "in_Password", "value": "x"}
            let names_secret = |(name, value): &(String, &RawValue)| {
                ["name", "Name", "key", "Key"].contains(&name.as_str())
                    && serde_json::from_str::<String>(value.get())
                        .is_ok_and(|name| self.is_secret_name(&name))
            };
            let has_secret_name = members.iter().any(names_secret);
            for (name, value) in members {
                let is_value = has_secret_name && name.eq_ignore_ascii_case("value");
                if (is_value || self.is_secret_name(&name)) && value.get() != "null" {
                    replaced.replace(value, MASK_TEXT);
                } else {
                    self.mask_value(value, depth_left, replaced);
                }
            }
        } else if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) {
            items.into_iter().for_each(|item| self.mask_value(item, depth_left, replaced));
        } else if let Ok(text) = serde_json::from_str::<String>(json) {
            let masked = self.mask_text_in_json(&text, depth_left);
            if masked != text {
                replaced.replace(value, &masked);
            }
        } else if let Ok(number) = serde_json::from_str::<Number>(json) {
            // A number can be written in several ways, such as 1000 and 1e3.
            for number in [json, &number.to_string()] {
                let masked = self.mask_text(number);
                if masked != number {
                    return replaced.replace(value, &masked);
                }
            }
        }
    }

    /// Masks a text in JSON. If the text is itself JSON and is too deep, returns `***`. If it is
    /// JSON with a value to mask, returns this JSON with masked values, or `***` if a match of a
    /// pattern could remain in it. Otherwise only masks the matches of patterns.
    fn mask_text_in_json(&self, text: &str, depth_left: usize) -> String {
        let Ok(Value::Object(_) | Value::Array(_) | Value::String(_)) = serde_json::from_str(text)
        else {
            return self.mask_text(text);
        };
        let Some(depth_left) = depth_left.checked_sub(1) else { return MASK_TEXT.to_owned() };
        match self.mask_values(text, depth_left) {
            None => self.mask_text(text),
            Some(masked) if self.match_may_remain(text, &masked) => MASK_TEXT.to_owned(),
            Some(masked) => masked,
        }
    }

    /// Whether `masked` may still contain what a pattern of the connection matches in `text`, the
    /// same JSON before its values were masked. A pattern may match across several members.
    fn match_may_remain(&self, text: &str, masked: &str) -> bool {
        let matches = self.patterns.iter().flat_map(|pattern| pattern.captures_iter(text));
        let values = matches.filter_map(|found| {
            let value = found.name("value").or_else(|| found.get(0))?;
            Some(value.as_str().trim_matches(|c: char| !c.is_alphanumeric()))
        });
        let mut checked = BTreeSet::new();
        for value in values.filter(|value| !value.is_empty()) {
            let remains = checked.insert(value) && masked.contains(value);
            if remains || checked.len() > CHECKED_MATCHES_MAX {
                return true;
            }
        }
        false
    }
}

/// The members of a JSON object in their order, also those that have the same name.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'t> Visitor<'t> for MembersVisitor {
            type Value = Members<'t>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &RawValue>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A copy of a JSON text in which values are replaced, from the first to the last.
struct ReplacedText<'t> {
    text: &'t str,
    /// The number of bytes of `text` that were copied to `result` or replaced.
    copied: usize,
    result: String,
}

impl<'t> ReplacedText<'t> {
    /// Replaces a value of the text by a JSON string with the content `by`. The value must be after
    /// the last replaced value.
    fn replace(&mut self, value: &'t RawValue, by: &str) {
        let start = value.get().as_ptr().addr() - self.text.as_ptr().addr();
        self.result += self.text.get(self.copied..start).unwrap_or_default();
        self.result += &Value::from(by).to_string();
        self.copied = start + value.get().len();
    }

    /// Returns the text, or `None` if no value was replaced.
    fn into_result(mut self) -> Option<String> {
        if self.copied == 0 {
            return None;
        }
        self.result += self.text.get(self.copied..).unwrap_or_default();
        Some(self.result)
    }
}
