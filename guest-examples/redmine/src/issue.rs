//! The issue of a failed test: its text, where its marker is stored, and how it is found again.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bindings::jackfield::connector::log::{self, Level};
use crate::bindings::jackfield::connector::model::{Defect, Error, ErrorCode, FailedTest};
use crate::client::Client;
use crate::model::Named;
use crate::priorities::Priorities;
use crate::settings::Settings;

/// The longest subject that Redmine accepts, in characters.
const SUBJECT_CHARS_MAX: usize = 255;

#[derive(Deserialize)]
struct Issue {
    id: u64,
    subject: String,
    description: Option<String>,
    status: Named,
    priority: Named,
    #[serde(default)]
    custom_fields: Vec<CustomField>,
}

/// Redmine applies its own default to each field that is absent.
#[derive(Serialize)]
struct NewIssue<'a> {
    project_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracker_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority_id: Option<u64>,
    subject: String,
    description: String,
    custom_fields: Vec<CustomField>,
}

#[derive(Serialize, Deserialize)]
struct CustomField {
    id: u64,
    /// A text, or a list of texts if the field allows several values.
    #[serde(default)]
    value: Value,
}

/// Creates the issue of a failed test. Everything that may fail comes before the one write.
pub fn create(
    client: &Client,
    settings: &Settings,
    test: &FailedTest,
    marker: &str,
) -> Result<Defect, Error> {
    #[derive(Deserialize)]
    struct Answer {
        issue: Issue,
    }
    let field = settings.marker_field_id()?;
    let tracker_id = match settings.tracker {
        Some(_) => settings.tracker_id(&client.project(&settings.project)?)?,
        None => None,
    };
    let priority_id = match &settings.priority {
        Some(name) => Some(Priorities::fetch(client)?.id(name)?),
        None => None,
    };
    let issue = NewIssue {
        project_id: &settings.project,
        tracker_id,
        priority_id,
        subject: subject(test),
        description: description(test, if field.is_none() { Some(marker) } else { None }),
        custom_fields: field
            .into_iter()
            .map(|id| CustomField { id, value: marker.into() })
            .collect(),
    };
    let Answer { issue } = client.post("/issues.json", &json!({ "issue": issue }))?;
    // The issue exists now, so a missing marker must not become an error. Tell the person instead.
    if !issue.contains(marker, field) {
        log::log(
            Level::Error,
            "Redmine did not store the marker: check that the setting `marker-field` is a field \
             of this project and tracker, and that the user of the API key may edit it",
        );
    }
    Ok(issue.into_defect(client))
}

/// Finds the issues that contain the marker, open or closed, in any project, the oldest first.
pub fn find(client: &Client, settings: &Settings, marker: &str) -> Result<Vec<Defect>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        issues: Vec<Issue>,
    }
    let field = settings.marker_field_id()?;
    let (filter, value) = match field {
        Some(id) => (format!("cf_{id}"), marker.to_owned()),
        None => ("description".to_owned(), format!("~{marker}")),
    };
    let query = [("status_id", "*"), ("sort", "id"), ("limit", "5"), (&filter, &value)];
    let Answer { issues } = client.get("/issues.json", &query)?;
    if issues.is_empty() {
        // With a wrong API key, Redmine answers as if to an anonymous visitor, who may see nothing.
        client.current_user()?;
        return Ok(Vec::new());
    }
    // Redmine ignores a filter that it does not know, and returns all issues.
    if !issues.iter().all(|issue| issue.contains(marker, field)) {
        let why = match field {
            Some(id) => format!(
                "this Redmine cannot search by the custom field {id}: it must belong to issues, be \
                 visible to the user of the API key, and be marked \"Used as a filter\""
            ),
            None => "this Redmine cannot search in descriptions; store the marker in a custom \
                     field instead"
                .to_owned(),
        };
        return Err(Error::new(ErrorCode::Unsupported, why).about("marker-field"));
    }
    Ok(issues.into_iter().map(|issue| issue.into_defect(client)).collect())
}

impl Issue {
    fn contains(&self, marker: &str, field: Option<u64>) -> bool {
        match field {
            Some(id) => {
                self.custom_fields.iter().any(|field| field.id == id && field.value == marker)
            }
            None => self.description.as_deref().is_some_and(|text| text.contains(marker)),
        }
    }

    fn into_defect(self, client: &Client) -> Defect {
        Defect {
            key: self.id.to_string(),
            title: self.subject,
            link: client.address(&format!("/issues/{}", self.id), &[]),
            status: Some(self.status.name),
            priority: Some(self.priority.name),
            description: self.description,
        }
    }
}

fn subject(test: &FailedTest) -> String {
    let subject = match &test.variation_id {
        Some(variation) => {
            format!("Test case {} failed ({})", test.test_case_id, on_one_line(variation))
        }
        None => format!("Test case {} failed", test.test_case_id),
    };
    subject.chars().take(SUBJECT_CHARS_MAX).collect()
}

fn description(test: &FailedTest, marker: Option<&str>) -> String {
    let items = [
        ("Test case", Some(test.test_case_id.as_str())),
        ("Test execution", Some(&test.test_execution_id)),
        ("Variation", test.variation_id.as_deref()),
        ("Test case log", test.link.as_deref()),
        ("Jackfield marker (used to find this issue again)", marker),
    ];
    let items = items
        .iter()
        .filter_map(|(label, text)| Some(format!("* {label}: {}\n", on_one_line((*text)?))));
    format!("A test run by UiPath Test Manager failed.\n\n{}", items.collect::<String>())
}

/// Replaces line breaks. A variation is free text, and must not look like another list item.
fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
