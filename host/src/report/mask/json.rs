//! Masks values in JSON texts, also in JSON that a text of the JSON contains. This module never
//! decides which names and patterns are those of secrets.

use std::collections::BTreeSet;
use std::ops::Range;

use regex::Regex;
use serde_json::{Number, Value};

use super::{MASK_TEXT, Mask};

/// A text in JSON may itself be JSON. At most this many such levels are masked value by value; a
/// text of JSON at a deeper level is masked as a whole.
pub(super) const CONTAINED_JSON_DEPTH_MAX: usize = 4;

impl Mask {
    /// Masks values in a JSON text. A value is masked if its member has the name of a secret. The
    /// member `value` is also masked if the member `name` or `key` of the same object contains the
    /// name of a secret. Of all other texts and numbers, only the matches of patterns are masked.
    /// In a text that is itself JSON, the names of members are masked like texts, and a pattern may
    /// match several members together.
    #[must_use]
    pub fn mask_arguments(&self, text: &str) -> String {
        if serde_json::from_str::<Value>(text).is_err() {
            return self.mask_text(text);
        }
        let mut masker = JsonMasker::new(self, text, CONTAINED_JSON_DEPTH_MAX, false);
        masker.read_value();
        masker.into_masked()
    }

    /// Masks a text in JSON. Returns `***` if the text is JSON that is too deep, or in which a
    /// match of a pattern of the connection could remain.
    fn mask_text_in_json(&self, text: &str, depth_left: usize) -> String {
        let Ok(json @ (Value::Object(_) | Value::Array(_) | Value::String(_))) =
            serde_json::from_str(text)
        else {
            return self.mask_text(text);
        };
        let Some(depth_left) = depth_left.checked_sub(1) else { return MASK_TEXT.to_owned() };
        let mut masker = JsonMasker::new(self, text, depth_left, true);
        masker.read_value();
        let hides_matches = masker.mask_matched_values();
        if hides_matches && self.matches_nothing_more(text, &json.to_string()) {
            masker.into_masked()
        } else {
            MASK_TEXT.to_owned()
        }
    }

    /// Whether the patterns of the connection match nothing in the canonical form of a JSON text
    /// that they do not match in the text: white space, escapes and the order of members differ.
    fn matches_nothing_more(&self, text: &str, canonical: &str) -> bool {
        if self.patterns.is_empty() || text == canonical {
            return true;
        }
        let matched: BTreeSet<_> = matches_of(&self.patterns, text).map(|it| it.value).collect();
        matches_of(&self.patterns, canonical).all(|it| matched.contains(it.value))
    }
}

/// What a pattern matches in a text: its group `value`, or else the whole match.
struct Match<'t> {
    /// The place of `value`; if it is empty, that of the whole match.
    range: Range<usize>,
    /// The match without the characters around its letters and digits.
    value: &'t str,
}

fn matches_of<'p, 't: 'p>(
    patterns: impl IntoIterator<Item = &'p Regex> + 'p,
    text: &'t str,
) -> impl Iterator<Item = Match<'t>> + 'p {
    let found = patterns.into_iter().flat_map(move |pattern| pattern.captures_iter(text));
    found.filter_map(|found| {
        let found = found.name("value").or_else(|| found.get(0))?;
        let rest = found.as_str().trim_start_matches(|c: char| !c.is_alphanumeric());
        let value = rest.trim_end_matches(|c: char| !c.is_alphanumeric());
        let start = found.end() - rest.len();
        let range = if value.is_empty() { found.range() } else { start..start + value.len() };
        Some(Match { range, value })
    })
}

/// Masks values in a JSON text, in one pass. serde_json must have parsed the text as a [`Value`],
/// so that it is valid, and its nesting is limited.
struct JsonMasker<'m, 't> {
    mask: &'m Mask,
    text: &'t str,
    /// The offset in the text up to which it was read.
    at: usize,
    /// How many levels of JSON in texts are masked value by value.
    depth_left: usize,
    /// Whether the JSON is in a text of other JSON.
    is_contained: bool,
    /// The names of members, and the texts, numbers, `true`, `false` and `null` that are values;
    /// only recorded in contained JSON.
    parts: Vec<Part>,
    /// The places to replace, each with the text that replaces it.
    replacements: Vec<(Range<usize>, String)>,
}

/// A name or a value without members and items.
struct Part {
    range: Range<usize>,
    is_name: bool,
    /// The text that replaces a part of it, if only a part is masked.
    masked: Option<String>,
}

impl<'m, 't> JsonMasker<'m, 't> {
    fn new(mask: &'m Mask, text: &'t str, depth_left: usize, is_contained: bool) -> Self {
        let (parts, replacements) = (Vec::new(), Vec::new());
        Self { mask, text, at: 0, depth_left, is_contained, parts, replacements }
    }

    fn into_masked(self) -> String {
        let (mut replacements, mut masked, mut copied) = (self.replacements, String::new(), 0);
        replacements.sort_by_key(|(range, _)| range.start);
        for (range, by) in replacements {
            masked += self.text.get(copied..range.start).unwrap_or_default();
            masked += &Value::from(by).to_string();
            copied = range.end;
        }
        masked += self.text.get(copied..).unwrap_or_default();
        masked
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
                self.add_part(start..self.at, false, (masked != text).then_some(masked));
                return Some(text);
            }
            _ => {
                self.skip(|byte| !byte.is_ascii_whitespace() && !b",]}".contains(&byte));
                let is_masked = self.is_masked_number(start..self.at);
                self.add_part(start..self.at, false, is_masked.then(|| MASK_TEXT.to_owned()));
            }
        }
        None
    }

    fn add_part(&mut self, range: Range<usize>, is_name: bool, masked: Option<String>) {
        if let Some(by) = &masked {
            self.replacements.push((range.clone(), by.clone()));
        }
        if self.is_contained {
            self.parts.push(Part { range, is_name, masked });
        }
    }

    fn read_members(&mut self) {
        let (first, mut values, mut names_secret) = (self.replacements.len(), Vec::new(), false);
        while self.has_next_item() {
            let start = self.at;
            self.next_byte();
            let name = self.read_string();
            if self.is_contained {
                let masked = self.mask.mask_text(&name);
                self.add_part(start..self.at, true, (masked != name).then_some(masked));
            }
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

    /// Masks the values that a pattern matches in the whole text of contained JSON. Returns false
    /// if a match of a pattern of the connection is not only in values.
    fn mask_matched_values(&mut self) -> bool {
        let (mask, mut touched) = (self.mask, vec![false; self.parts.len()]);
        let defaults = mask.all_patterns().take(mask.all_patterns().count() - mask.patterns.len());
        // A default pattern also matches what only separates members.
        for found in matches_of(defaults, self.text).filter(|found| !found.value.is_empty()) {
            self.touch_parts(&found, &mut touched);
        }
        let mut hides_matches = true;
        for found in matches_of(&mask.patterns, self.text) {
            hides_matches &= self.touch_parts(&found, &mut touched);
        }
        let touched = self.parts.iter().zip(touched).filter(|(part, is_touched)| {
            *is_touched && !part.is_name && self.text.get(part.range.clone()) != Some("null")
        });
        let values: Vec<_> = touched.map(|(part, _)| part.range.clone()).collect();
        self.mask_whole_values(0, &values);
        hides_matches
    }

    /// Marks the parts that a match touches, unless only a part of one text is matched and masked.
    /// Returns whether all letters and digits of the match are in values, or masked.
    fn touch_parts(&self, found: &Match<'_>, touched: &mut [bool]) -> bool {
        let Range { start, end } = found.range;
        let first = self.parts.partition_point(|part| part.range.end <= start);
        let parts = self.parts.get(first..).unwrap_or_default();
        let count = parts.iter().take_while(|part| part.range.start < end).count();
        let parts = parts.get(..count).unwrap_or_default();
        if let [Part { range, masked: Some(masked), .. }] = parts
            && range.start <= start
            && end <= range.end
            && !masked.contains(found.value)
        {
            return true;
        }
        if let Some(touched) = touched.get_mut(first..first + count) {
            touched.fill(true);
        }
        let is_covered_name = |part: &Part| part.masked.as_deref() == Some(MASK_TEXT);
        let has_name = parts.iter().any(|part| {
            let overlap = start.max(part.range.start)..end.min(part.range.end);
            let overlap = self.text.get(overlap).unwrap_or_default();
            part.is_name && !is_covered_name(part) && overlap.contains(char::is_alphanumeric)
        });
        !parts.is_empty() && !has_name
    }

    /// Masks these values as a whole, instead of parts of them. They are sorted, and none of the
    /// replacements before `first` is in one of them.
    fn mask_whole_values(&mut self, first: usize, values: &[Range<usize>]) {
        let mut replaced = self.replacements.split_off(first);
        let is_in_any = |range: &Range<usize>, ranges: &[Range<usize>]| {
            let index = ranges.partition_point(|other| other.start <= range.start);
            let before = index.checked_sub(1).and_then(|index| ranges.get(index));
            before.is_some_and(|before| range.end <= before.end)
        };
        replaced.retain(|(range, _)| !is_in_any(range, values));
        replaced.sort_by_key(|(range, _)| range.start);
        // A value in an object that is replaced is not replaced again.
        let ranges: Vec<_> = replaced.iter().map(|(range, _)| range.clone()).collect();
        self.replacements.append(&mut replaced);
        let masked = values.iter().filter(|value| !is_in_any(value, &ranges));
        self.replacements.extend(masked.map(|value| (value.clone(), MASK_TEXT.to_owned())));
    }

    /// Whether a pattern matches a number, which can be written in several ways, such as 1000 and
    /// 1e3.
    fn is_masked_number(&self, range: Range<usize>) -> bool {
        let json = self.text.get(range).unwrap_or_default();
        let Ok(number) = serde_json::from_str::<Number>(json) else { return false };
        let is_matched =
            |number: &str| self.mask.patterns.iter().any(|pattern| pattern.is_match(number));
        is_matched(json) || !self.mask.patterns.is_empty() && is_matched(&number.to_string())
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
