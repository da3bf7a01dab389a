//! Masks secrets in the data of tests: arguments, logs, assertions, steps and custom fields.
//! Templates and connectors get these data only after they are masked. This module never masks the
//! secrets of a connection: the room `redact` does.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::TestData;

/// The text in place of a masked value.
const MASK_TEXT: &str = "***";
/// Maximum number of patterns in the mask settings, and maximum number of names.
const LIST_ITEMS_MAX: usize = 50;
/// Maximum length of a pattern in characters, and of a normalized name in bytes.
const ITEM_LENGTH_MAX: usize = 500;
/// Maximum memory of a compiled pattern, and of its cache of transitions, bytes each.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// The value of an argument, JSON member or custom field is masked if its name contains one of
/// these words. Names are compared in lower case and without separators.
const SECRET_NAMES: [&str; 16] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "token",
    "secret",
    "credential",
    "apikey",
    "accesskey",
    "privatekey",
    "authkey",
    "signingkey",
    "encryptionkey",
    "connectionstring",
    "authorization",
    "cookie",
];
/// The patterns whose matches are masked in texts by default. If a pattern has a group `value`,
/// only this group is masked.
static DEFAULT_PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let name = r"[\w.-]*(?:pass[_-]?word|passwd|passphrase|pwd|token|secret|credential|(?:api|access|private|auth|signing|encryption)[ _-]?key|connection[ _-]?string|cookie)[\w.-]*";
    [
        // name=value, name: value, "name": "value"
        format!(
            r#"(?i){name}["']?\s*[:=]\s*(?<value>"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s"'][^\s,;]*)"#
        ),
        // <name>value</name>
        format!(r"(?i)<{name}[^>\n]*>(?<value>[^<\n]+)<"),
        // Authorization: Bearer value
        r"(?i)\b(?:bearer|basic)\s+(?<value>[\w.~+/=-]{8,})".to_owned(),
        // https://user:value@host
        r"://[^/\s:@]*:(?<value>[^/\s@]+)@".to_owned(),
    ]
    .iter()
    .filter_map(|pattern| compile_pattern(pattern).ok())
    .collect()
});

/// A text in JSON may itself be JSON. At most this many such levels are masked value by value; a
/// text of JSON at a deeper level is masked as a whole.
const CONTAINED_JSON_DEPTH_MAX: usize = 4;

/// The mask settings of a connection: which values are replaced by `***`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskSettings {
    /// Whether values that look like passwords, tokens, secrets or keys are masked.
    pub defaults: bool,
    /// Further words: a value is masked if the name of its argument, JSON member or custom field
    /// contains one of them.
    pub names: Vec<String>,
    /// Regular expressions whose matches are masked. If an expression has a group `value`, only
    /// this group is masked.
    pub patterns: Vec<String>,
}

impl Default for MaskSettings {
    fn default() -> Self {
        Self { defaults: true, names: Vec::new(), patterns: Vec::new() }
    }
}

impl MaskSettings {
    /// Adds other settings, so that each value is masked that either of the two settings would
    /// mask.
    pub fn include(&mut self, other: Self) {
        self.defaults |= other.defaults;
        for (list, additions) in
            [(&mut self.names, other.names), (&mut self.patterns, other.patterns)]
        {
            let missing: Vec<_> =
                additions.into_iter().filter(|item| !list.contains(item)).collect();
            list.extend(missing);
        }
    }
}

/// Masks secrets, with compiled patterns and normalized names.
#[derive(Debug)]
pub struct Mask {
    /// Whether [`SECRET_NAMES`] and [`DEFAULT_PATTERNS`] are used.
    uses_defaults: bool,
    /// The normalized names of the settings.
    names: Vec<String>,
    /// The compiled patterns of the settings.
    patterns: Vec<Regex>,
}

/// The reason why mask settings cannot be used, as a text for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidMask(String);

impl Mask {
    /// Compiles the patterns and normalizes the names.
    ///
    /// # Errors
    /// The settings have too many patterns or names, or one of them cannot be used.
    pub fn new(settings: &MaskSettings) -> Result<Self, InvalidMask> {
        if settings.patterns.len() > LIST_ITEMS_MAX || settings.names.len() > LIST_ITEMS_MAX {
            return invalid_mask(format!(
                "give at most {LIST_ITEMS_MAX} patterns and {LIST_ITEMS_MAX} names"
            ));
        }
        let names: Vec<_> = settings.names.iter().map(|name| normalize(name)).collect();
        if names.iter().any(|name| name.is_empty() || name.len() > ITEM_LENGTH_MAX) {
            return invalid_mask("a name has no letter or digit, or is too long");
        }
        let patterns = settings.patterns.iter().map(|pattern| compile_pattern(pattern));
        let patterns = patterns.collect::<Result<_, _>>()?;
        Ok(Self { uses_defaults: settings.defaults, names, patterns })
    }

    /// Masks secrets in the log, the assertions, the robot's log, the steps and the custom fields.
    pub(super) fn apply(&self, data: &mut TestData) {
        if let Some(log) = &mut data.log {
            for arguments in [&mut log.input_arguments, &mut log.output_arguments] {
                *arguments = arguments.take().map(|text| self.mask_arguments(&text));
            }
            self.mask_optional_text(&mut log.info);
            self.mask_optional_text(&mut log.post_condition);
        }
        for assertion in &mut data.assertions {
            self.mask_optional_text(&mut assertion.message);
            assertion.payload = assertion.payload.take().map(|text| self.mask_arguments(&text));
        }
        for line in &mut data.robot_logs {
            line.message = self.mask_text(&line.message);
        }
        for step in &mut data.steps {
            self.mask_optional_text(&mut step.description);
            self.mask_optional_text(&mut step.expected);
            self.mask_optional_text(&mut step.actual);
        }
        for field in &mut data.custom_fields {
            field.value = match self.is_secret_name(&field.name) {
                true => MASK_TEXT.to_owned(),
                false => self.mask_text(&field.value),
            };
        }
    }

    /// Masks the matches of the patterns in a text.
    #[must_use]
    pub fn mask_text(&self, text: &str) -> String {
        let mut masked = Cow::Borrowed(text);
        for pattern in self.all_patterns() {
            if let Cow::Owned(text) = pattern.replace_all(&masked, mask_match) {
                masked = Cow::Owned(text);
            }
        }
        masked.into_owned()
    }

    fn all_patterns(&self) -> impl Iterator<Item = &Regex> {
        DEFAULT_PATTERNS.iter().filter(|_| self.uses_defaults).chain(&self.patterns)
    }

    fn mask_optional_text(&self, text: &mut Option<String>) {
        *text = text.take().map(|text| self.mask_text(&text));
    }

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
    /// with masked values, or `***` if it is too deep. Otherwise only masks the matches of
    /// patterns.
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
            return self.mask_matches_of(text, masked.to_string());
        }
        // Of members with the same name, parsing keeps the last one. The others were not checked.
        let canonical = json.to_string();
        let may_hide_secret = self.is_secret_name(text) && !has_same_bytes(text, &canonical);
        self.mask_text(if may_hide_secret { &canonical } else { text })
    }

    /// Masks in `masked` what a pattern of the connection matches in `text`, the same JSON before
    /// its values were masked. The members of `masked` may have another order and other white space
    /// between them, and long numbers have fewer digits.
    fn mask_matches_of(&self, text: &str, mut masked: String) -> String {
        for found in self.patterns.iter().flat_map(|pattern| pattern.captures_iter(text)) {
            let Some(value) = found.name("value").or_else(|| found.get(0)) else { continue };
            let value = value.as_str().trim_matches(|c: char| !c.is_alphanumeric());
            let parsed_number = value.parse().ok().and_then(Number::from_f64);
            let as_number = parsed_number.map(|number| number.to_string());
            for value in [Some(value.to_owned()), as_number].into_iter().flatten() {
                if !["", "null", "true", "false"].contains(&value.as_str()) {
                    masked = masked.replace(&value, MASK_TEXT);
                }
            }
        }
        masked
    }

    /// Whether a value with this name is a secret.
    fn is_secret_name(&self, name: &str) -> bool {
        let name = normalize(name);
        let by_default = self.uses_defaults && SECRET_NAMES.iter().any(|word| name.contains(word));
        by_default || self.names.iter().any(|word| name.contains(word))
    }
}

/// Returns a name in lower case and without separators.
fn normalize(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
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

/// Masks the group `value` of a match. If the match has no such group, masks the whole match.
fn mask_match(captures: &Captures<'_>) -> String {
    let (Some(whole), Some(value)) = (captures.get(0), captures.name("value")) else {
        return MASK_TEXT.to_owned();
    };
    let text = whole.as_str();
    let before = text.get(..value.start() - whole.start()).unwrap_or_default();
    let after = text.get(value.end() - whole.start()..).unwrap_or_default();
    format!("{before}{MASK_TEXT}{after}")
}

/// Compiles a pattern. Refuses a pattern that is empty, too long, not valid or too large, or that
/// matches an empty text.
fn compile_pattern(pattern: &str) -> Result<Regex, InvalidMask> {
    if pattern.is_empty() || pattern.chars().count() > ITEM_LENGTH_MAX {
        return invalid_mask(format!("a pattern must have 1 to {ITEM_LENGTH_MAX} characters"));
    }
    let mut builder = RegexBuilder::new(pattern);
    let regex = builder.size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build();
    match regex {
        Err(error) => invalid_mask(format!("the pattern `{pattern}` cannot be used: {error}")),
        Ok(regex) if regex.is_match("") => {
            let why = "matches an empty text, so it would match everywhere";
            invalid_mask(format!("the pattern `{pattern}` {why}"))
        }
        Ok(regex) => Ok(regex),
    }
}

/// Returns an error with this reason.
fn invalid_mask<T>(why: impl Into<String>) -> Result<T, InvalidMask> {
    Err(InvalidMask(why.into()))
}

#[cfg(test)]
mod tests;
