//! What an issue of ours looks like: its text, where its marker stands, how it is found again.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bindings::jackfield::connector::log::{self, Level};
use crate::bindings::jackfield::connector::model::{Defect, Error, FailedTest};
use crate::client::{Client, Named};
use crate::priorities::Priorities;
use crate::settings::Settings;

/// Redmine's longest subject, in characters.
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

/// What is left out is Redmine's to choose.
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
    /// A text; a list of texts in a field with several values.
    #[serde(default)]
    value: Value,
}

/// Creates the issue of a failed test.
pub fn create(
    redmine: &Client,
    settings: &Settings,
    test: &FailedTest,
    marker: &str,
) -> Result<Defect, Error> {
    #[derive(Deserialize)]
    struct Answer {
        issue: Issue,
    }
    let field = settings.marker_field()?;
    let tracker_id = match settings.tracker {
        Some(_) => settings.tracker_id(&redmine.project(&settings.project)?)?,
        None => None,
    };
    let priority_id = match &settings.priority {
        Some(name) => Some(Priorities::fetch(redmine)?.id(name)?),
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
    let Answer { issue } = redmine.post("/issues.json", &json!({ "issue": issue }))?;
    // The issue is there, so this is no error any more; but a person should know.
    if !issue.carries(marker, field) {
        log::log(
            Level::Error,
            "the issue did not take the marker: is the setting `marker-field` a \
            field of this project and tracker, and may this user edit it?",
        );
    }
    Ok(issue.into_defect(redmine))
}

/// The issue that carries the marker, open or closed, in whatever project it is by now.
pub fn find(redmine: &Client, settings: &Settings, marker: &str) -> Result<Option<Defect>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        issues: Vec<Issue>,
    }
    let field = settings.marker_field()?;
    let (filter, value) = match field {
        Some(id) => (format!("cf_{id}"), marker.to_owned()),
        None => ("description".to_owned(), format!("~{marker}")),
    };
    let query = [("status_id", "*"), ("sort", "id"), ("limit", "5"), (&filter, &value)];
    let Answer { issues } = redmine.get("/issues.json", &query)?;
    if issues.is_empty() {
        // Redmine serves a wrong key as a stranger, who may see nothing where there is something.
        redmine.current_user()?;
        return Ok(None);
    }
    // Redmine ignores a filter that it does not know and returns every issue there is.
    match issues.into_iter().find(|issue| issue.carries(marker, field)) {
        Some(issue) => Ok(Some(issue.into_defect(redmine))),
        None => Err(Error::Unsupported(format!(
            "this Redmine cannot search by `{filter}`: a custom field must be of issues, visible \
             to the user of the API key, and marked \"Used as a filter\""
        ))),
    }
}

impl Issue {
    fn carries(&self, marker: &str, field: Option<u64>) -> bool {
        match field {
            Some(id) => {
                self.custom_fields.iter().any(|field| field.id == id && field.value == marker)
            }
            None => self.description.as_deref().is_some_and(|text| text.contains(marker)),
        }
    }

    fn into_defect(self, redmine: &Client) -> Defect {
        Defect {
            key: self.id.to_string(),
            title: self.subject,
            link: redmine.address(&format!("/issues/{}", self.id), &[]),
            status: Some(self.status.name),
            priority: Some(self.priority.name),
            description: self.description,
        }
    }
}

fn subject(test: &FailedTest) -> String {
    let subject = match &test.variation_id {
        Some(variation) => {
            format!("Test case {} failed ({})", test.test_case_id, one_line(variation))
        }
        None => format!("Test case {} failed", test.test_case_id),
    };
    subject.chars().take(SUBJECT_CHARS_MAX).collect()
}

fn description(test: &FailedTest, marker: Option<&str>) -> String {
    let lines = [
        ("Test case", Some(test.test_case_id.as_str())),
        ("Test execution", Some(&test.test_execution_id)),
        ("Variation", test.variation_id.as_deref()),
        ("Test case log", test.link.as_deref()),
        ("Jackfield marker, by which the issue is found again", marker),
    ];
    let lines =
        lines.iter().filter_map(|(what, text)| Some(format!("* {what}: {}\n", one_line((*text)?))));
    format!("A test run by UiPath Test Manager failed.\n\n{}", lines.collect::<String>())
}

/// A variation is anybody's text; a line break in it must not look like a line of ours.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
