//! The records of the sample tracker: issues with comments, files and custom fields. They are
//! stored only in memory.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::CUSTOM_FIELDS;
use super::files::UploadedFile;

pub(super) const ISSUES_MAX: usize = 10_000;

/// The kinds of issues, which Redmine calls trackers: id and name.
pub(super) const TRACKERS: [(u64, &str); 2] = [(1, "Bug"), (2, "Feature")];
/// Id and name.
pub(super) const PRIORITIES: [(u64, &str); 5] =
    [(1, "Low"), (2, "Normal"), (3, "High"), (4, "Urgent"), (5, "Immediate")];
/// Id, name, and whether an issue of this status is closed.
pub(super) const STATUSES: [(u64, &str, bool); 3] =
    [(1, "New", false), (2, "In Progress", false), (5, "Closed", true)];
pub(super) const PRIORITY_NORMAL: u64 = 2;
const STATUS_NEW: u64 = 1;
const STATUS_CLOSED: u64 = 5;

/// Subject, id of the priority, id of the status.
const SAMPLE_ISSUES: [(&str, u64, u64); 6] = [
    ("Checkout accepts an expired card", 5, STATUS_NEW),
    ("Search finds nothing for names with an umlaut", 3, STATUS_NEW),
    ("Invoice shows the net amount twice", 3, STATUS_NEW),
    ("Footer overlaps the cookie banner", 1, STATUS_NEW),
    ("Password reset mail comes twice", 4, STATUS_CLOSED),
    ("Export stops after 1,000 rows", 2, STATUS_CLOSED),
];

#[derive(Default)]
pub(super) struct TrackerData {
    pub(super) issues: Vec<Issue>,
    /// All files, including files that no issue has yet.
    pub(super) files: Vec<UploadedFile>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Issue {
    pub(super) id: u64,
    /// The id of the kind of issue; [`TRACKERS`] lists the known kinds.
    pub(super) tracker: u64,
    pub(super) priority: u64,
    pub(super) status: u64,
    pub(super) subject: String,
    pub(super) description: String,
    /// By the id of the field. A field without a value is not included.
    pub(super) custom_fields: HashMap<u64, String>,
    pub(super) files: Vec<u64>,
    pub(super) comments: Vec<String>,
}

/// The parameters in the query of a request, by Redmine's names.
pub(super) type QueryParameters = HashMap<String, String>;

impl TrackerData {
    /// Returns some issues, so that the demo does not show counts of zero.
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

    pub(super) fn files_of_issue<'a>(
        &'a self,
        issue: &'a Issue,
    ) -> impl Iterator<Item = &'a UploadedFile> {
        self.files.iter().filter(|file| issue.files.contains(&file.id))
    }
}

impl Issue {
    /// As in Redmine, an unknown filter matches every issue, and without the filter `status_id`
    /// closed issues do not match.
    pub(super) fn matches_filters(&self, filters: &QueryParameters) -> bool {
        filters.iter().all(|(filter, value)| match filter.as_str() {
            "tracker_id" => filter_contains_id(self.tracker, value),
            "priority_id" => filter_contains_id(self.priority, value),
            "description" => self.description.contains(value.trim_start_matches('~')),
            filter => match custom_field_id(filter) {
                Some(id) => self.custom_fields.get(&id) == Some(value),
                None => true,
            },
        }) && match filters.get("status_id").map(String::as_str) {
            Some("*") => true,
            Some(status) if status.starts_with('c') => self.is_closed(),
            _ => !self.is_closed(),
        }
    }

    pub(super) fn status_name(&self) -> &'static str {
        find_status(self.status).map_or("?", |(_, name, _)| name)
    }

    pub(super) fn is_closed(&self) -> bool {
        find_status(self.status).is_some_and(|(_, _, is_closed)| is_closed)
    }

    pub(super) fn to_json(&self) -> Value {
        let field = |(id, field): &(u64, &str)| {
            let value = self.custom_fields.get(id).map_or("", String::as_str);
            json!({ "id": id, "name": field, "value": value })
        };
        json!({
            "id": self.id,
            "project": { "id": 1, "name": "QA" },
            "tracker": { "id": self.tracker, "name": find_name(&TRACKERS, self.tracker) },
            "status":
                { "id": self.status, "name": self.status_name(), "is_closed": self.is_closed() },
            "priority": { "id": self.priority, "name": find_name(&PRIORITIES, self.priority) },
            "subject": self.subject,
            "description": self.description,
            "custom_fields": CUSTOM_FIELDS.iter().map(field).collect::<Vec<_>>(),
        })
    }

    /// Returns the comments in the format of Redmine's journals.
    pub(super) fn journals(&self) -> Vec<Value> {
        let journal = |(notes, id): (&String, u64)| json!({ "id": id, "notes": notes });
        self.comments.iter().zip(1..).map(journal).collect()
    }
}

pub(super) fn find_status(id: u64) -> Option<(u64, &'static str, bool)> {
    STATUSES.into_iter().find(|(status, ..)| *status == id)
}

/// Returns the id of the custom field in a filter such as `cf_2`.
fn custom_field_id(filter: &str) -> Option<u64> {
    let id = filter.strip_prefix("cf_")?.parse().ok()?;
    CUSTOM_FIELDS.iter().any(|(field, _)| *field == id).then_some(id)
}

pub(super) fn find_name(list: &[(u64, &'static str)], id: u64) -> &'static str {
    list.iter().find(|(entry, _)| *entry == id).map_or("?", |(_, name)| name)
}

/// Whether a filter such as `4|5` contains the id.
fn filter_contains_id(id: u64, filter: &str) -> bool {
    filter.split('|').any(|text| text == id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_the_same_issues_as_in_redmine() {
        let issue = Issue {
            tracker: 1,
            priority: 5,
            status: STATUS_NEW,
            description: "marker: abc".to_owned(),
            custom_fields: HashMap::from([(2, "Robot-01".to_owned())]),
            ..Issue::default()
        };
        let matches = |query: &[(&str, &str)]| {
            issue.matches_filters(
                &query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            )
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
