//! Masks secrets in the data of tests: arguments, logs, assertions, steps and custom fields. This
//! module never masks the secrets of a connection: the room `redact` does.

mod json;

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::TestData;

const MASK_TEXT: &str = "***";
/// Maximum number of patterns in the mask settings, and maximum number of names.
const LIST_ITEMS_MAX: usize = 50;
/// Maximum length of a pattern in characters, and of a normalized name in bytes.
const ITEM_LENGTH_MAX: usize = 500;
/// Maximum memory of a compiled pattern, and of its cache of transitions, bytes each.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// By default, the value of an argument, JSON member or custom field is masked if its name contains
/// one of these words. Names are compared in lower case and without separators.
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
    let value = r#""(?:[^"\\\n]|\\.)*"|'[^'\n]*'|(?:(?:bearer|basic)\s+)?[^\s"'][^\s,;]*"#;
    [
        // name=value, name: value, "name": "value"
        format!(r#"(?i){name}["']?\s*[:=]\s*(?<value>{value})"#),
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

/// The mask settings of a connection: which values are replaced by `***`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskSettings {
    /// Whether a value is masked if its name, or the text around it, is typical of a password,
    /// token, secret or key.
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
    names: Vec<String>,
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

fn invalid_mask<T>(why: impl Into<String>) -> Result<T, InvalidMask> {
    Err(InvalidMask(why.into()))
}

#[cfg(test)]
mod tests;
