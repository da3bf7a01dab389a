//! Checks the settings and secrets of a connection against the manifest, and names each one that
//! is wrong, missing or unknown. Never sees the value of a secret.

use std::collections::BTreeSet;

use crate::domain::{Grants, Settings, nearest};

use super::Manifest;
use super::schema::{SETTING_NAME_BYTES_MAX, SETTINGS_MAX};

/// Maximum number of errors that are reported at once.
const ERRORS_MAX: usize = SETTINGS_MAX;
/// Maximum length of one error's reason, characters. A schema may contain long lists and patterns.
const WHY_CHARS_MAX: usize = 1_000;
/// Minimum similarity (0 to 1) of a known name that an error suggests.
const SIMILARITY_MIN: f64 = 0.7;

/// A setting or secret that does not meet the manifest's requirements.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}`: {why}")]
pub struct SettingError {
    /// The name of the setting or secret.
    pub name: String,
    /// Says what is wrong with the value, and what is allowed.
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
    /// Checks the entered settings, and the names of the secrets that have a value. Reports only
    /// errors of names for which `concerns` returns true.
    ///
    /// # Errors
    /// The settings and secrets that are wrong, missing or unknown; each error says what is
    /// allowed.
    pub fn validate(
        &self,
        settings: &Settings,
        secrets_set: &[String],
        concerns: impl Fn(&str) -> bool,
    ) -> Result<(), Vec<SettingError>> {
        let mut errors: Vec<_> = self
            .wrong_settings(settings)
            .chain(self.missing_settings(settings))
            .chain(self.wrong_secrets(secrets_set))
            .chain(self.missing_secrets(secrets_set))
            .filter(|error| concerns(&error.name))
            .take(ERRORS_MAX)
            .collect();
        let grant_errors = match self.required_grants(settings) {
            Ok(grants) => self.secrets_without_place(secrets_set, &grants),
            Err(errors) => errors,
        };
        let reported: BTreeSet<_> = errors.iter().map(|error| error.name.clone()).collect();
        let is_new =
            |error: &SettingError| !reported.contains(&error.name) && concerns(&error.name);
        errors.extend(grant_errors.into_iter().filter(is_new));
        errors.truncate(ERRORS_MAX);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Returns whether the manifest declares a setting or a secret of that name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.schema.settings.contains_key(name) || self.schema.secrets.contains_key(name)
    }

    fn wrong_settings(&self, settings: &Settings) -> impl Iterator<Item = SettingError> {
        settings.iter().flat_map(|(name, value)| -> Vec<_> {
            if let Some(setting) = self.schema.settings.get(name) {
                let errors = setting.rules.errors(value);
                return errors.map(|why| SettingError::new(name, why)).collect();
            }
            let why = if self.schema.secrets.contains_key(name) {
                format!("it is a secret; {}", give_secret(name))
            } else {
                let unknown = unknown("setting", name, self.schema.settings.keys());
                let secrets: Vec<_> = self.schema.secrets.keys().map(String::as_str).collect();
                match secrets.is_empty() {
                    true => unknown,
                    false => format!("{unknown}; its secrets are {}", secrets.join(", ")),
                }
            };
            vec![SettingError::new(name, why)]
        })
    }

    fn missing_settings(&self, settings: &Settings) -> impl Iterator<Item = SettingError> {
        let declared = self.schema.settings.iter();
        let missing = declared
            .filter(|(name, setting)| setting.is_required && !settings.contains_key(name.as_str()));
        missing.map(|(name, setting)| {
            let separator = if setting.label.is_empty() { "" } else { ": " };
            let missing = format!("it is missing{separator}{}", setting.label);
            SettingError::new(name, format!("{missing}; {}", give_setting(name)))
        })
    }

    fn wrong_secrets(&self, secrets_set: &[String]) -> impl Iterator<Item = SettingError> {
        let known = &self.schema.secrets;
        secrets_set.iter().filter(|name| !known.contains_key(*name)).map(|name| {
            let why = if self.schema.settings.contains_key(name) {
                format!("it is not a secret; {}", give_setting(name))
            } else {
                unknown("secret", name, known.keys())
            };
            SettingError::new(name, why)
        })
    }

    fn missing_secrets(&self, secrets_set: &[String]) -> impl Iterator<Item = SettingError> {
        let declared = self.schema.secrets.iter();
        let missing =
            declared.filter(|(name, secret)| secret.is_required && !secrets_set.contains(name));
        missing.map(|(name, _)| {
            SettingError::new(name, format!("this secret is missing; {}", give_secret(name)))
        })
    }

    /// Finds secrets that have a value but no place, because settings that the place names are
    /// missing.
    fn secrets_without_place(&self, secrets_set: &[String], grants: &Grants) -> Vec<SettingError> {
        let is_unplaced = |name: &&String| {
            self.schema.secrets.contains_key(*name) && !grants.secrets.contains_key(*name)
        };
        let why = "the settings that say where it goes (its origin, its user) are missing";
        let unplaced = secrets_set.iter().filter(is_unplaced);
        unplaced.map(|name| SettingError::new(name, why)).collect()
    }
}

/// Says how a setting is given: most people use the command line.
fn give_setting(name: &str) -> String {
    format!("give it with `--set {name}=VALUE`, in the API under `settings`")
}

fn give_secret(name: &str) -> String {
    format!("give it with `--secret {name}`, in the API under `secrets`")
}

/// Explains why a name that the schema does not declare is refused. `kind` is `setting` or
/// `secret`.
fn unknown<'s>(kind: &str, name: &str, declared: impl Iterator<Item = &'s String>) -> String {
    let names: Vec<&str> = declared.map(String::as_str).collect();
    if names.is_empty() {
        return format!("there is no such {kind}; the connector has no {kind}s");
    }
    // Comparing a name of any length would take too long.
    let nearest = nearest(name, names.iter().copied().filter(|_| is_short(name)));
    let suggestion = nearest
        .filter(|(_, similarity)| *similarity >= SIMILARITY_MIN)
        .map(|(nearest, _)| format!(" (did you mean `{nearest}`?)"))
        .unwrap_or_default();
    format!("there is no such {kind}{suggestion}; the connector's {kind}s are {}", names.join(", "))
}

fn is_short(name: &str) -> bool {
    name.len() <= 2 * SETTING_NAME_BYTES_MAX
}
