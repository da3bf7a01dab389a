//! Records of Redmine that several files use, with only the fields that are needed.
//!
//! Plain data: never sends a request, never reads a setting.

use serde::Deserialize;

/// A record with an id and a name: a tracker, a priority, a status, a custom field.
#[derive(Deserialize)]
pub struct Named {
    pub id: u64,
    pub name: String,
}

#[derive(Deserialize)]
pub struct Project {
    pub identifier: String,
    pub name: String,
    /// Empty unless the request includes the trackers.
    #[serde(default)]
    pub trackers: Vec<Named>,
}

#[derive(Deserialize)]
pub struct User {
    pub login: String,
    firstname: String,
    lastname: String,
}

impl Named {
    /// Compares names without regard to case, because people type them.
    pub fn has_name(&self, name: &str) -> bool {
        self.name.to_lowercase() == name.to_lowercase()
    }
}

impl User {
    pub fn full_name(&self) -> String {
        format!("{} {}", self.firstname, self.lastname)
    }
}

/// Joins names into a list for an error message.
pub fn join_names(records: &[Named]) -> String {
    records.iter().map(|record| record.name.as_str()).collect::<Vec<_>>().join(", ")
}
