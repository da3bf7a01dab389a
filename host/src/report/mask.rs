//! Masks secrets in the data of tests: arguments, logs and assertions. A masked value never reaches
//! a template, a tracker or a connector.

use std::sync::LazyLock;

use regex::{Captures, Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TestData;

/// The text in place of a masked value.
const MASKED: &str = "***";
const PATTERNS_MAX: usize = 50;
const PATTERN_CHARS_MAX: usize = 500;
/// Maximum memory of a compiled pattern, bytes.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// The values of arguments and JSON members with these names are masked. Names are compared without
/// separators, in upper or lower case.
const NAMES: [&str; 16] = [
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
/// The patterns that are masked in texts by default. If a pattern has a group `value`, only this
/// group is masked.
static DEFAULTS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
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
    .filter_map(|pattern| compile(pattern).ok())
    .collect()
});

/// The settings of a connection's mask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskSettings {
    /// Whether passwords, tokens, secrets and keys are masked where they are recognised.
    pub defaults: bool,
    /// Further names of arguments whose values are masked.
    pub names: Vec<String>,
    /// Regular expressions. Their matches are masked; if they have a group `value`, only this
    /// group.
    pub patterns: Vec<String>,
}

impl Default for MaskSettings {
    fn default() -> Self {
        Self { defaults: true, names: Vec::new(), patterns: Vec::new() }
    }
}

impl MaskSettings {
    /// Adds what other settings mask.
    pub fn include(&mut self, other: Self) {
        self.defaults |= other.defaults;
        for (own, others) in [(&mut self.names, other.names), (&mut self.patterns, other.patterns)]
        {
            let missing: Vec<_> = others.into_iter().filter(|it| !own.contains(it)).collect();
            own.extend(missing);
        }
    }
}

/// The compiled patterns and the names, ready for use.
#[derive(Debug)]
pub struct Mask {
    defaults: bool,
    names: Vec<String>,
    patterns: Vec<Regex>,
}

/// The reason why the settings of a mask cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidMask(String);

impl Mask {
    /// Compiles the patterns and normalizes the names.
    ///
    /// # Errors
    /// The settings have too many patterns or names, or one of them cannot be used.
    pub fn new(settings: &MaskSettings) -> Result<Self, InvalidMask> {
        if settings.patterns.len() > PATTERNS_MAX || settings.names.len() > PATTERNS_MAX {
            return invalid(format!(
                "give at most {PATTERNS_MAX} patterns and {PATTERNS_MAX} names"
            ));
        }
        let names: Vec<_> = settings.names.iter().map(|name| normal(name)).collect();
        if names.iter().any(|name| name.is_empty() || name.len() > PATTERN_CHARS_MAX) {
            return invalid("a name has no letter or digit, or is too long");
        }
        let patterns = settings.patterns.iter().map(|pattern| compile(pattern));
        let patterns = patterns.collect::<Result<_, _>>()?;
        Ok(Self { defaults: settings.defaults, names, patterns })
    }

    /// Masks all texts of the data.
    pub(super) fn apply(&self, data: &mut TestData) {
        if let Some(log) = &mut data.log {
            for arguments in [&mut log.input_arguments, &mut log.output_arguments] {
                *arguments = arguments.take().map(|it| self.arguments(&it));
            }
            self.optional(&mut log.info);
            self.optional(&mut log.post_condition);
        }
        for assertion in &mut data.assertions {
            self.optional(&mut assertion.message);
            self.optional(&mut assertion.payload);
        }
        for line in &mut data.robot_logs {
            line.message = self.text(&line.message);
        }
        for step in &mut data.steps {
            self.optional(&mut step.description);
            self.optional(&mut step.expected);
            self.optional(&mut step.actual);
        }
        for field in data.custom_fields.iter_mut().filter(|field| self.is_secret(&field.name)) {
            field.value = MASKED.to_owned();
        }
    }

    /// Masks the secrets in a text by the patterns.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let defaults = DEFAULTS.iter().filter(|_| self.defaults);
        for pattern in defaults.chain(&self.patterns) {
            text = pattern.replace_all(&text, mask_value).into_owned();
        }
        text
    }

    fn optional(&self, text: &mut Option<String>) {
        *text = text.take().map(|it| self.text(&it));
    }

    /// Masks the members of a JSON text by their names. A text that is not JSON is masked as a
    /// text.
    #[must_use]
    pub fn arguments(&self, text: &str) -> String {
        let Ok(mut json) = serde_json::from_str::<Value>(text) else { return self.text(text) };
        self.json(&mut json);
        json.to_string()
    }

    /// Recursion is safe: serde_json limits how deep a text may be nested.
    fn json(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(members) => {
                // {"name": "in_Password", "value": "x"}
                let name = ["name", "Name", "key", "Key"].iter().find_map(|it| members.get(*it));
                let named = name.and_then(Value::as_str).is_some_and(|name| self.is_secret(name));
                for (name, value) in members {
                    let is_value = named && name.eq_ignore_ascii_case("value");
                    if (is_value || self.is_secret(name)) && !value.is_null() {
                        *value = Value::String(MASKED.to_owned());
                    } else {
                        self.json(value);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Whether this name says that the value is a secret.
    fn is_secret(&self, name: &str) -> bool {
        let name = normal(name);
        let by_default = self.defaults && NAMES.iter().any(|it| name.contains(it));
        by_default || self.names.iter().any(|it| name.contains(it))
    }
}

/// A name in lower case, without separators.
fn normal(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn mask_value(found: &Captures<'_>) -> String {
    let (Some(whole), Some(value)) = (found.get(0), found.name("value")) else {
        return MASKED.to_owned();
    };
    let text = whole.as_str();
    let before = text.get(..value.start() - whole.start()).unwrap_or_default();
    let after = text.get(value.end() - whole.start()..).unwrap_or_default();
    format!("{before}{MASKED}{after}")
}

fn compile(pattern: &str) -> Result<Regex, InvalidMask> {
    if pattern.is_empty() || pattern.chars().count() > PATTERN_CHARS_MAX {
        return invalid(format!("a pattern has 1 to {PATTERN_CHARS_MAX} characters"));
    }
    let mut builder = RegexBuilder::new(pattern);
    let regex = builder.size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build();
    match regex {
        Err(error) => invalid(format!("the pattern `{pattern}` cannot be used: {error}")),
        Ok(regex) if regex.is_match("") => {
            invalid(format!("the pattern `{pattern}` fits an empty text, and so everything"))
        }
        Ok(regex) => Ok(regex),
    }
}

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidMask> {
    Err(InvalidMask(why.into()))
}

#[cfg(test)]
mod tests;
