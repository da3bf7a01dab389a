//! Checks the settings and secrets of a connection against the manifest. This module never reads
//! the value of a secret.

use std::collections::BTreeSet;

use crate::domain::{Grants, Settings, nearest};

use super::Manifest;
use super::schema::{SETTING_NAME_BYTES_MAX, SETTINGS_MAX};

/// Maximum number of errors that are reported at once.
const ERRORS_MAX: usize = SETTINGS_MAX;
/// A longer reason is cut to this length, characters. It may contain long lists and patterns of the
/// schema.
const WHY_CHARS_MAX: usize = 1_000;
/// Minimum similarity (0 to 1) of the declared name that an error suggests for an unknown name.
const SIMILARITY_MIN: f64 = 0.7;

/// A setting or secret that does not meet the manifest's requirements.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}`: {why}")]
pub struct SettingError {
    /// The name of the setting or secret.
    pub name: String,
    /// Describes what is wrong with the value, and what is allowed.
    pub why: String,
}

impl SettingError {
    pub(super) fn new(name: &str, why: impl Into<String>) -> Self {
        let mut why = why.into();
        if let Some((end, _)) = why.char_indices().nth(WHY_CHARS_MAX) {
            why.truncate(end);
            why.push('…');
        }
        Self { name: name.to_owned(), why }
    }
}

impl Manifest {
    /// Checks the entered settings, and the names of the secrets that have a value. Errors of names
    /// for which `is_relevant` returns false are not reported.
    ///
    /// # Errors
    /// The settings and secrets that are wrong, missing or unknown, at most 100 errors. A setting
    /// may have several errors.
    pub fn validate(
        &self,
        settings: &Settings,
        entered_secrets: &[String],
        is_relevant: impl Fn(&str) -> bool,
    ) -> Result<(), Vec<SettingError>> {
        let mut errors: Vec<_> = self
            .wrong_settings(settings)
            .chain(self.missing_settings(settings))
            .chain(self.wrong_secrets(entered_secrets))
            .chain(self.missing_secrets(entered_secrets))
            .filter(|error| is_relevant(&error.name))
            .take(ERRORS_MAX)
            .collect();
        let grant_errors = match self.required_grants(settings) {
            Ok(grants) => self.secrets_without_place(entered_secrets, &grants),
            Err(errors) => errors,
        };
        let reported: BTreeSet<_> = errors.iter().map(|error| error.name.clone()).collect();
        let is_new =
            |error: &SettingError| !reported.contains(&error.name) && is_relevant(&error.name);
        errors.extend(grant_errors.into_iter().filter(is_new));
        errors.truncate(ERRORS_MAX);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Whether the manifest declares a setting or a secret with this name.
    #[must_use]
    pub fn declares(&self, name: &str) -> bool {
        self.declared.settings.contains_key(name) || self.declared.secrets.contains_key(name)
    }

    fn wrong_settings(&self, settings: &Settings) -> impl Iterator<Item = SettingError> {
        settings.iter().flat_map(|(name, value)| -> Vec<_> {
            if let Some(setting) = self.declared.settings.get(name) {
                let errors = setting.rules.errors(value);
                return errors.map(|why| SettingError::new(name, why)).collect();
            }
            let why = if self.declared.secrets.contains_key(name) {
                format!("this is a secret; {}", describe_how_to_set_secret(name))
            } else {
                let unknown = explain_unknown_name("setting", name, self.declared.settings.keys());
                let secrets: Vec<_> = self.declared.secrets.keys().map(String::as_str).collect();
                match secrets.is_empty() {
                    true => unknown,
                    false => format!("{unknown}; its secrets are {}", secrets.join(", ")),
                }
            };
            vec![SettingError::new(name, why)]
        })
    }

    fn missing_settings(&self, settings: &Settings) -> impl Iterator<Item = SettingError> {
        let declared = self.declared.settings.iter();
        let missing = declared
            .filter(|(name, setting)| setting.is_required && !settings.contains_key(name.as_str()));
        missing.map(|(name, setting)| {
            let separator = if setting.label.is_empty() { "" } else { ": " };
            let missing = format!("this setting is missing{separator}{}", setting.label);
            SettingError::new(name, format!("{missing}; {}", describe_how_to_set(name)))
        })
    }

    /// Returns an error for each entered name that is not the name of a secret.
    fn wrong_secrets(&self, entered_secrets: &[String]) -> impl Iterator<Item = SettingError> {
        let declared = &self.declared.secrets;
        entered_secrets.iter().filter(|name| !declared.contains_key(*name)).map(|name| {
            let why = if self.declared.settings.contains_key(name) {
                format!("this is not a secret; {}", describe_how_to_set(name))
            } else {
                explain_unknown_name("secret", name, declared.keys())
            };
            SettingError::new(name, why)
        })
    }

    fn missing_secrets(&self, entered_secrets: &[String]) -> impl Iterator<Item = SettingError> {
        let declared = self.declared.secrets.iter();
        let missing =
            declared.filter(|(name, secret)| secret.is_required && !entered_secrets.contains(name));
        missing.map(|(name, _)| {
            SettingError::new(
                name,
                format!("this secret is missing; {}", describe_how_to_set_secret(name)),
            )
        })
    }

    /// Returns an error for each secret that has a value but no place, because settings that the
    /// place needs are missing.
    fn secrets_without_place(
        &self,
        entered_secrets: &[String],
        grants: &Grants,
    ) -> Vec<SettingError> {
        let is_unplaced = |name: &&String| {
            self.declared.secrets.contains_key(*name) && !grants.secrets.contains_key(*name)
        };
        let why =
            "the settings that define where this secret is sent (its origin, its user) are missing";
        let unplaced = entered_secrets.iter().filter(is_unplaced);
        unplaced.map(|name| SettingError::new(name, why)).collect()
    }
}

/// The command line comes first, because most people use it.
fn describe_how_to_set(name: &str) -> String {
    format!("set it with `--set {name}=VALUE`, or in the API under `settings`")
}

fn describe_how_to_set_secret(name: &str) -> String {
    format!("set it with `--secret {name}`, or in the API under `secrets`")
}

/// Explains why an undeclared name is refused. `kind` is `setting` or `secret`.
fn explain_unknown_name<'s>(
    kind: &str,
    name: &str,
    declared: impl Iterator<Item = &'s String>,
) -> String {
    let names: Vec<&str> = declared.map(String::as_str).collect();
    if names.is_empty() {
        return format!("there is no such {kind}; the connector has no {kind}s");
    }
    // Comparing a very long name would take too long.
    let nearest = nearest(name, names.iter().copied().filter(|_| is_short_name(name)));
    let suggestion = nearest
        .filter(|(_, similarity)| *similarity >= SIMILARITY_MIN)
        .map(|(nearest, _)| format!(" (did you mean `{nearest}`?)"))
        .unwrap_or_default();
    format!("there is no such {kind}{suggestion}; the connector's {kind}s are {}", names.join(", "))
}

fn is_short_name(name: &str) -> bool {
    name.len() <= 2 * SETTING_NAME_BYTES_MAX
}
