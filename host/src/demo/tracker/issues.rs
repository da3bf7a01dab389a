//! The records of the tracker: issues with comments, files and custom fields.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::CUSTOM_FIELDS;
use super::files::File;

/// Maximum number of issues.
pub(super) const ISSUES_MAX: usize = 10_000;

pub(super) const TRACKERS: [(u64, &str); 2] = [(1, "Bug"), (2, "Feature")];
pub(super) const PRIORITIES: [(u64, &str); 5] =
    [(1, "Low"), (2, "Normal"), (3, "High"), (4, "Urgent"), (5, "Immediate")];
/// The statuses: id, name, and whether an issue of this status is closed.
pub(super) const STATUSES: [(u64, &str, bool); 3] =
    [(1, "New", false), (2, "In Progress", false), (5, "Closed", true)];
pub(super) const PRIORITY_NORMAL: u64 = 2;
const NEW: u64 = 1;
const CLOSED: u64 = 5;

/// The issues that exist at the start: subject, priority, status.
const SAMPLE_ISSUES: [(&str, u64, u64); 6] = [
    ("Checkout accepts an expired card", 5, NEW),
    ("Search finds nothing for names with an umlaut", 3, NEW),
    ("Invoice shows the net amount twice", 3, NEW),
    ("Footer overlaps the cookie banner", 1, NEW),
    ("Password reset mail comes twice", 4, CLOSED),
    ("Export stops after 1,000 rows", 2, CLOSED),
];

/// Everything that the tracker stores.
#[derive(Default)]
pub(super) struct Content {
    pub(super) issues: Vec<Issue>,
    /// All files, including files that no issue has yet.
    pub(super) files: Vec<File>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) tracker: u64,
    pub(super) priority: u64,
    pub(super) status: u64,
    pub(super) subject: String,
    pub(super) description: String,
    /// The text of each custom field that is set, by its id.
    pub(super) fields: HashMap<u64, String>,
    /// The ids of the issue's files.
    pub(super) files: Vec<u64>,
    pub(super) comments: Vec<String>,
}

/// The filters of a list, as Redmine names them.
pub(super) type Filters = HashMap<String, String>;

impl Content {
    /// The content at the start: some issues, so that the counts are not zero.
    pub(super) fn sample() -> Self {
        let issue = |(&(subject, priority, status), id)| Issue {
            id,
            tracker: 1,
            priority,
            status,
            subject: String::from(subject),
            ..Issue::default()
        };
        let issues = SAMPLE_ISSUES.iter().zip(1..).map(issue).collect();
        Self { issues, ..Self::default() }
    }

    pub(super) fn issue(&self, id: u64) -> Option<&Issue> {
        self.issues.iter().find(|issue| issue.id == id)
    }

    pub(super) fn issue_mut(&mut self, id: u64) -> Option<&mut Issue> {
        self.issues.iter_mut().find(|issue| issue.id == id)
    }

    /// The files of an issue.
    pub(super) fn files_of<'a>(&'a self, issue: &'a Issue) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(|file| issue.files.contains(&file.id))
    }
}

impl Issue {
    /// Whether Redmine's filters match this issue, as far as the connector uses them. As in
    /// Redmine, an unknown filter matches every issue, and without `status_id` closed issues do
    /// not match.
    pub(super) fn matches(&self, filters: &Filters) -> bool {
        filters.iter().all(|(filter, value)| match filter.as_str() {
            "tracker_id" => is_one_of(self.tracker, value),
            "priority_id" => is_one_of(self.priority, value),
            "description" => self.description.contains(value.trim_start_matches('~')),
            filter => match custom_field(filter) {
                Some(id) => self.fields.get(&id) == Some(value),
                None => true,
            },
        }) && match filters.get("status_id").map(String::as_str) {
            Some("*") => true,
            Some(status) if status.starts_with('c') => self.is_closed(),
            _ => !self.is_closed(),
        }
    }

    pub(super) fn status_name(&self) -> &'static str {
        status(self.status).map_or("?", |(_, name, _)| name)
    }

    pub(super) fn is_closed(&self) -> bool {
        status(self.status).is_some_and(|(_, _, is_closed)| is_closed)
    }

    pub(super) fn json(&self) -> Value {
        let field = |(id, field): &(u64, &str)| {
            let value = self.fields.get(id).map_or("", String::as_str);
            json!({ "id": id, "name": field, "value": value })
        };
        json!({
            "id": self.id,
            "project": { "id": 1, "name": "QA" },
            "tracker": { "id": self.tracker, "name": name(&TRACKERS, self.tracker) },
            "status":
                { "id": self.status, "name": self.status_name(), "is_closed": self.is_closed() },
            "priority": { "id": self.priority, "name": name(&PRIORITIES, self.priority) },
            "subject": self.subject,
            "description": self.description,
            "custom_fields": CUSTOM_FIELDS.iter().map(field).collect::<Vec<_>>(),
        })
    }

    /// The comments as Redmine's journals.
    pub(super) fn journals(&self) -> Vec<Value> {
        let journal = |(notes, id): (&String, u64)| json!({ "id": id, "notes": notes });
        self.comments.iter().zip(1..).map(journal).collect()
    }
}

pub(super) fn status(id: u64) -> Option<(u64, &'static str, bool)> {
    STATUSES.into_iter().find(|(known, ..)| *known == id)
}

/// The id in a filter such as `cf_2`.
fn custom_field(filter: &str) -> Option<u64> {
    let id = filter.strip_prefix("cf_")?.parse().ok()?;
    CUSTOM_FIELDS.iter().any(|(known, _)| *known == id).then_some(id)
}

pub(super) fn name(list: &[(u64, &'static str)], id: u64) -> &'static str {
    list.iter().find(|(known, _)| *known == id).map_or("?", |(_, name)| name)
}

/// Whether a filter like "4|5" contains the number.
fn is_one_of(id: u64, filter: &str) -> bool {
    filter.split('|').any(|text| text == id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_in_redmine() {
        let issue = Issue {
            tracker: 1,
            priority: 5,
            status: NEW,
            description: "marker: abc".to_owned(),
            fields: HashMap::from([(2, "Robot-01".to_owned())]),
            ..Issue::default()
        };
        let matches = |query: &[(&str, &str)]| {
            issue.matches(&query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        assert!(matches(&[]));
        assert!(matches(&[("status_id", "open"), ("priority_id", "4|5"), ("sort", "id")]));
        assert!(matches(&[("status_id", "*"), ("description", "~abc"), ("cf_2", "Robot-01")]));
        assert!(matches(&[("cf_9", "x")]));
        assert!(!matches(&[("status_id", "closed")]));
        assert!(!matches(&[("priority_id", "4")]));
        assert!(!matches(&[("description", "~other")]));
        assert!(!matches(&[("cf_2", "Robot-02")]));
    }
}
