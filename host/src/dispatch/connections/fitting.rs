//! Whether a connection fits its connector: its name, settings and secrets.

use std::collections::BTreeMap;

use crate::connector::{Manifest, SettingsProblem};
use crate::domain::{Connection, Grants};
use crate::secret::{Sealer, Secret};
use crate::store::StoredConnection;

use super::super::Dispatch;
use super::WrongSetting;

/// Longest name, in characters.
const NAME_MAX: usize = 100;

/// What a manifest asks for with these settings, or everything of concern that does not fit it.
pub(super) fn fit(
    connection: &Connection,
    manifest: &Manifest,
    concerns: impl Fn(&str) -> bool,
) -> Result<Grants, Vec<WrongSetting>> {
    let wrong = |problems: Vec<SettingsProblem>| {
        problems.into_iter().map(|it| WrongSetting { name: it.name, why: it.why }).collect()
    };
    manifest.validate(&connection.settings, &connection.secrets_set, concerns).map_err(wrong)?;
    manifest.demands(&connection.settings).map_err(wrong)
}

/// What is wrong with a connection's name.
pub(super) fn name_problem(name: &str) -> Option<WrongSetting> {
    let why = if name.trim() != name || name.is_empty() {
        "give 1 to 100 characters, no space at either end"
    } else if name.chars().count() > NAME_MAX {
        "it has more than 100 characters"
    } else if name.chars().any(char::is_control) {
        "it has control characters"
    } else if name.parse::<uuid::Uuid>().is_ok() {
        "it reads like a connection's id; choose another"
    } else {
        return None;
    };
    Some(WrongSetting { name: "name".to_owned(), why: why.to_owned() })
}

/// What is wrong with a pinned project: KPI requests name theirs in 1 to 128 characters.
pub(super) fn project_problem(project: Option<&str>) -> Option<WrongSetting> {
    let length = project?.chars().count();
    let why = "give 1 to 128 characters, or null for every project".to_owned();
    (!(1..=128).contains(&length)).then(|| WrongSetting { name: "project".to_owned(), why })
}

impl Dispatch {
    /// Seals secrets into a connection and lists which are set; answers those that cannot be used.
    pub(super) fn seal(
        &self,
        stored: &mut StoredConnection,
        secrets: &BTreeMap<String, Secret>,
    ) -> Vec<WrongSetting> {
        let config = self.config();
        let id = stored.connection.id.to_string();
        let mut wrong = Vec::new();
        for (name, secret) in secrets {
            let sealed = secret
                .resolve(&config.secret_file_roots, &config.secret_env_prefixes)
                .and_then(|_| self.inner.parts.sealer.seal(&Sealer::place(&id, name), secret));
            match sealed {
                Ok(sealed) => {
                    stored.secrets.insert(name.clone(), sealed);
                }
                Err(error) => {
                    wrong.push(WrongSetting { name: name.clone(), why: error.to_string() });
                }
            }
        }
        // A secret that cannot be used is set all the same: one complaint of it is enough.
        let given = secrets.keys().chain(stored.secrets.keys()).cloned();
        stored.connection.secrets_set =
            given.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_line_that_is_no_id() {
        for name in ["a", "Redmine of the payments team", "ü", &"x".repeat(100)] {
            assert_eq!(name_problem(name), None, "{name}");
        }
        let id = "0192c0de-0000-7000-8000-000000000000";
        for name in ["", " ", "a ", "a\nb", id, &"x".repeat(101)] {
            assert!(name_problem(name).is_some(), "{name}");
        }
    }
}
