//! Holds what people entered against the manifest and names each wrong, missing or unknown setting.

use std::sync::LazyLock;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use crate::domain::{Grants, Settings};

use super::{Manifest, SettingsProblem};

/// Problems named at once.
const PROBLEMS_MAX: usize = 50;
/// How alike two names must be (0 to 1) for one to be offered for the other.
const LIKENESS_MIN: f64 = 0.7;

impl Manifest {
    /// Checks settings, and which secrets have a value, as far as their names are of concern.
    ///
    /// # Errors
    /// Each setting that is wrong, missing or unknown, with what is allowed.
    pub fn validate(
        &self,
        settings: &Settings,
        secrets_set: &[String],
        concerns: impl Fn(&str) -> bool,
    ) -> Result<(), Vec<SettingsProblem>> {
        let all = properties(&self.settings_schema);
        let whole = Value::Object(settings.clone());
        let mut problems: Vec<_> = self
            .validator
            .iter_errors(&whole)
            .flat_map(|error| problems_of(&error, all))
            .filter(|problem| concerns(&problem.name))
            .take(PROBLEMS_MAX)
            .collect();
        let of_secrets = self.secret_problems(all, secrets_set).into_iter();
        problems.extend(of_secrets.filter(|problem| concerns(&problem.name)));
        let more = match self.demands(settings) {
            Ok(grants) => placeless(all, secrets_set, &grants),
            Err(more) => more,
        };
        let known: Vec<_> = problems.iter().map(|problem| problem.name.clone()).collect();
        let new =
            |problem: &SettingsProblem| !known.contains(&problem.name) && concerns(&problem.name);
        problems.extend(more.into_iter().filter(new));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Whether there is a setting or a secret of that name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        properties(&self.settings_schema).contains_key(name)
    }

    fn secret_problems(
        &self,
        all: &Map<String, Value>,
        secrets_set: &[String],
    ) -> Vec<SettingsProblem> {
        let secret = |name: &str| all.get(name).and_then(Value::as_object).is_some_and(is_secret);
        let required = self.settings_schema.get("required").and_then(Value::as_array);
        let missing = required
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|name| secret(name) && !secrets_set.iter().any(|set| set == name))
            .map(|name| problem(name, "this secret is missing; give it under `secrets`"));
        let unknown = secrets_set.iter().filter(|name| !secret(name)).map(|name| {
            if all.contains_key(name) {
                problem(name, "it is no secret; give it under `settings`")
            } else {
                problem(name, unknown(name, all, true))
            }
        });
        missing.chain(unknown).collect()
    }
}

/// Secrets that have a value, but no place yet: the settings that name it are absent.
fn placeless(
    all: &Map<String, Value>,
    secrets_set: &[String],
    grants: &Grants,
) -> Vec<SettingsProblem> {
    let has_place = |name: &&String| {
        all.get(*name).is_some_and(|property| property.get("jackfield:place").is_some())
    };
    let placeless = secrets_set.iter().filter(|name| !grants.secrets.contains_key(*name));
    let why = "the settings that say where it goes (its origin, its user) are missing";
    placeless.filter(has_place).map(|name| problem(name, why)).collect()
}

/// The settings of a checked schema.
pub(super) fn properties(schema: &Value) -> &Map<String, Value> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    schema.get("properties").and_then(Value::as_object).unwrap_or(&NONE)
}

/// Whether the setting is a secret.
pub(super) fn is_secret(property: &Map<String, Value>) -> bool {
    property.get("writeOnly") == Some(&Value::Bool(true))
}

fn problem(name: &str, why: impl Into<String>) -> SettingsProblem {
    SettingsProblem { name: name.to_owned(), why: why.into() }
}

fn problems_of(error: &ValidationError<'_>, all: &Map<String, Value>) -> Vec<SettingsProblem> {
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            unexpected.iter().map(|name| not_a_setting(name, all)).collect()
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![problem(name, format!("it is missing{}", described(name, all)))]
        }
        kind => {
            let path = error.instance_path().to_string();
            let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
            let why = match kind {
                ValidationErrorKind::Enum { options } => format!("it must be one of {options}"),
                ValidationErrorKind::Constant { expected_value } => {
                    format!("the connector fixes it to {expected_value}")
                }
                ValidationErrorKind::Format { format } if format == "uri" => {
                    "it is no address: write it like https://tracker.example".to_owned()
                }
                _ => error.masked().to_string(),
            };
            vec![problem(name, why)]
        }
    }
}

fn not_a_setting(name: &str, all: &Map<String, Value>) -> SettingsProblem {
    if all.get(name).and_then(Value::as_object).is_some_and(is_secret) {
        return problem(name, "it is a secret; give it under `secrets`");
    }
    problem(name, unknown(name, all, false))
}

fn unknown(name: &str, all: &Map<String, Value>, secrets: bool) -> String {
    let what = if secrets { "secret" } else { "setting" };
    let names: Vec<&str> = all
        .iter()
        .filter(|(_, property)| property.as_object().is_some_and(is_secret) == secrets)
        .map(|(name, _)| name.as_str())
        .collect();
    let nearest = names
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let offer = nearest.map(|(_, known)| format!(" (did you mean `{known}`?)")).unwrap_or_default();
    let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!("there is no such {what}{offer}; there are: {list}")
}

fn described(name: &str, all: &Map<String, Value>) -> String {
    let text = |word| all.get(name).and_then(|property| property.get(word)).and_then(Value::as_str);
    match (text("title"), text("description")) {
        (Some(title), Some(description)) => format!(": {title} ({description})"),
        (Some(one), None) | (None, Some(one)) => format!(": {one}"),
        (None, None) => String::new(),
    }
}
