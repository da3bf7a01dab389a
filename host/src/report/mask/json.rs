//! Masks values in JSON texts, also in JSON that a text of the JSON contains. This module never
//! decides which names and patterns are those of secrets.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Number, Value};

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
    /// and numbers, only the matches of patterns are masked. Everything else stays as it is.
    #[must_use]
    pub fn mask_arguments(&self, text: &str) -> String {
        if serde_json::from_str::<Value>(text).is_err() {
            return self.mask_text(text);
        }
        let masked = JsonMasker::mask_values(self, text, CONTAINED_JSON_DEPTH_MAX);
        masked.map_or_else(|| text.to_owned(), |masked| masked.text)
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
        let Some(masked) = JsonMasker::mask_values(self, text, depth_left) else {
            return self.mask_contained_json(text, &json);
        };
        let may_remain = masked.has_match_in_name || self.match_may_remain(text, &json, &masked);
        if may_remain { MASK_TEXT.to_owned() } else { masked.text }
    }

    /// Masks the matches of patterns in contained JSON whose values need no mask. A pattern may
    /// match the name of a member, or across several members. A name may be written with escapes,
    /// so the canonical form of the JSON is also searched.
    fn mask_contained_json(&self, text: &str, json: &Value) -> String {
        let canonical = json.to_string();
        let (masked, masked_canonical) = (self.mask_text(text), self.mask_text(&canonical));
        match (masked == text, masked_canonical == canonical) {
            (_, true) => masked,
            (true, false) => masked_canonical,
            (false, false) if canonical == text => masked,
            (false, false) => MASK_TEXT.to_owned(),
        }
    }

    /// Whether a value that a pattern of the connection matches in `text` may remain in `masked`,
    /// the same JSON with masked values. `json` is the parsed `text`. A value may be written with
    /// escapes at one place and without them at another.
    fn match_may_remain(&self, text: &str, json: &Value, masked: &MaskedJson) -> bool {
        let parsed = serde_json::from_str::<Value>(&masked.text);
        let masked_canonical = parsed.map(|json| json.to_string()).unwrap_or_default();
        let canonical = json.to_string();
        let texts = [text, &canonical].into_iter();
        let matches = texts.flat_map(|text| {
            self.patterns.iter().flat_map(move |pattern| pattern.captures_iter(text))
        });
        let values = matches.filter_map(|found| {
            let value = found.name("value").or_else(|| found.get(0))?;
            Some(value.as_str().trim_matches(|c: char| !c.is_alphanumeric()))
        });
        let mut checked = BTreeSet::new();
        for value in values.filter(|value| !value.is_empty()) {
            let remains = checked.insert(value)
                && (masked.text.contains(value) || masked_canonical.contains(value));
            if remains || checked.len() > CHECKED_MATCHES_MAX {
                return true;
            }
        }
        false
    }
}

/// A JSON text with masked values.
struct MaskedJson {
    text: String,
    /// Whether a pattern matches the name of a member.
    has_match_in_name: bool,
}

/// Finds the values to mask in a JSON text, in one pass. serde_json must have parsed the text as a
/// [`Value`], so that it is valid, and its nesting is limited.
struct JsonMasker<'m, 't> {
    mask: &'m Mask,
    text: &'t str,
    /// The offset in the text up to which it was read.
    at: usize,
    /// How many levels of JSON in texts are masked value by value.
    depth_left: usize,
    /// The values to replace, each with the text that replaces it.
    replacements: Vec<(Range<usize>, String)>,
    has_match_in_name: bool,
}

impl<'m, 't> JsonMasker<'m, 't> {
    /// Returns `None` if no value is masked.
    fn mask_values(mask: &'m Mask, text: &'t str, depth_left: usize) -> Option<MaskedJson> {
        let (replacements, has_match_in_name) = (Vec::new(), false);
        let mut masker = Self { mask, text, at: 0, depth_left, replacements, has_match_in_name };
        masker.read_value();
        let has_match_in_name = masker.has_match_in_name;
        let mut replacements = masker.replacements;
        replacements.sort_by_key(|(range, _)| range.start);
        let (mut masked, mut copied) = (String::new(), 0);
        for (range, by) in replacements {
            masked += text.get(copied..range.start)?;
            masked += &Value::from(by).to_string();
            copied = range.end;
        }
        masked += text.get(copied..)?;
        (masked != text).then_some(MaskedJson { text: masked, has_match_in_name })
    }

    /// Reads a value. Returns it if it is a text.
    fn read_value(&mut self) -> Option<String> {
        self.skip(|byte| byte.is_ascii_whitespace());
        let start = self.at;
        match self.next_byte() {
            Some(b'{') => self.read_members(),
            Some(b'[') => {
                while self.has_next_item() {
                    self.read_value();
                }
            }
            Some(b'"') => {
                let text = self.read_string();
                let masked = self.mask.mask_text_in_json(&text, self.depth_left);
                if masked != text {
                    self.replacements.push((start..self.at, masked));
                }
                return Some(text);
            }
            _ => {
                self.skip(|byte| !byte.is_ascii_whitespace() && !b",]}".contains(&byte));
                self.mask_number(start..self.at);
            }
        }
        None
    }

    fn read_members(&mut self) {
        let (first, mut values, mut names_secret) = (self.replacements.len(), Vec::new(), false);
        while self.has_next_item() {
            self.next_byte();
            let name = self.read_string();
            self.has_match_in_name |= self.mask.mask_text(&name) != name;
            self.skip(|byte| byte.is_ascii_whitespace() || byte == b':');
            let (start, before) = (self.at, self.replacements.len());
            let text = self.read_value();
            let range = start..self.at;
            // An argument may be an object: {"name": "in_Password", "value": "x"}
            if ["name", "Name", "key", "Key"].contains(&name.as_str()) {
                names_secret |= text.is_some_and(|text| self.mask.is_secret_name(&text));
            }
            if self.text.get(range.clone()) == Some("null") {
                continue;
            }
            if self.mask.is_secret_name(&name) {
                self.replacements.truncate(before);
                self.replacements.push((range, MASK_TEXT.to_owned()));
            } else if name.eq_ignore_ascii_case("value") {
                values.push(range);
            }
        }
        if names_secret {
            self.mask_whole_values(first, &values);
        }
    }

    /// Masks these values of an object as a whole, instead of parts of them. The replacements from
    /// `first` on are those in this object.
    fn mask_whole_values(&mut self, first: usize, values: &[Range<usize>]) {
        let mut in_object = self.replacements.split_off(first);
        in_object.retain(|(range, _)| {
            let index = values.partition_point(|value| value.start <= range.start);
            let value = index.checked_sub(1).and_then(|index| values.get(index));
            value.is_none_or(|value| range.end > value.end)
        });
        self.replacements.append(&mut in_object);
        let masked = values.iter().map(|value| (value.clone(), MASK_TEXT.to_owned()));
        self.replacements.extend(masked);
    }

    /// Masks a number that a pattern matches. A number can be written in several ways, such as 1000
    /// and 1e3.
    fn mask_number(&mut self, range: Range<usize>) {
        let json = self.text.get(range.clone()).unwrap_or_default();
        let Ok(number) = serde_json::from_str::<Number>(json) else { return };
        let is_matched = |number: &str| self.mask.mask_text(number) != number;
        if is_matched(json) || is_matched(&number.to_string()) {
            self.replacements.push((range, MASK_TEXT.to_owned()));
        }
    }

    /// Reads the rest of a string after its first quote.
    fn read_string(&mut self) -> String {
        let start = self.at.saturating_sub(1);
        while let Some(byte) = self.next_byte() {
            match byte {
                b'"' => break,
                b'\\' => self.at += 1,
                _ => {}
            }
        }
        let json = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_str(json).unwrap_or_default()
    }

    /// Reads up to the next item of an array or an object. At the end, reads its bracket and
    /// returns false.
    fn has_next_item(&mut self) -> bool {
        self.skip(|byte| byte.is_ascii_whitespace() || byte == b',');
        let byte = self.text.as_bytes().get(self.at);
        let is_end = byte.is_none_or(|byte| b"]}".contains(byte));
        if is_end {
            self.at += 1;
        }
        !is_end
    }

    fn skip(&mut self, is_skipped: impl Fn(u8) -> bool) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| is_skipped(**byte)).count();
    }

    fn next_byte(&mut self) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.at).copied();
        self.at += 1;
        byte
    }
}
