//! Reads the connection's settings. Requests and changes the records of Redmine.

use jackfield_connector_kit::*;
use serde::{Deserialize, de::DeserializeOwned};

pub const REDMINE: Tracker =
    Tracker { name: "Redmine", address: "url", secret: "api-key", reasons: "/errors" };

/// The connection's settings, which `settings.schema.json` describes.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    pub url: String,
    pub project: String,
    tracker: Option<String>,
    priority: Option<String>,
    critical_priorities: TextList,
    moderate_priorities: TextList,
    pub marker_field: Option<Number>,
    pub markup: String,
}

impl Settings {
    /// Requests a member of the project's record.
    pub fn fetch_project_member<T: DeserializeOwned>(&self, member: &str) -> Result<T, Error> {
        let request = REDMINE.get(format!("/projects/{}.json", self.project));
        request.query("include", member).fetch(&format!("/project/{member}"))
    }

    /// Requests the custom fields. A project lists only the custom fields that were added to it.
    /// The custom fields for all projects are read from the newest issues.
    pub fn fetch_custom_fields(&self) -> Result<Vec<NamedRecord>, Error> {
        let newest = REDMINE.get("/issues.json").query("status_id", "*").query("sort", "id:desc");
        let issues: Vec<Value> = newest.query("limit", 25).fetch("/issues")?;
        let of_issues = issues.iter().flat_map(|issue| read_named_records(&issue["custom_fields"]));
        Ok(self
            .fetch_project_member::<Vec<_>>("issue_custom_fields")?
            .into_iter()
            .chain(of_issues)
            .collect())
    }

    /// Returns the id of the Redmine tracker that the settings name, such as Bug. A tracker that
    /// the project does not have is an error, because Redmine would use another tracker without an
    /// error.
    pub fn tracker_id(&self) -> Result<Option<u64>, Error> {
        optional_id(&self.tracker, "tracker", || self.fetch_project_member("trackers"))
    }

    /// Returns the id of the priority that the setting `priority` names.
    pub fn priority_id(&self) -> Result<Option<u64>, Error> {
        optional_id(&self.priority, "priority", fetch_priorities)
    }

    /// Returns the ids of the critical and of the moderate priorities, as two values of Redmine's
    /// filter, such as "4|5".
    pub fn counted_priorities(&self) -> Result<[String; 2], Error> {
        let known = fetch_priorities()?;
        let critical = ids_of(&known, &self.critical_priorities, "critical-priorities", "|")?;
        Ok([critical, ids_of(&known, &self.moderate_priorities, "moderate-priorities", "|")?])
    }
}

pub fn fetch_priorities() -> Result<Vec<NamedRecord>, Error> {
    REDMINE.get("/enumerations/issue_priorities.json").fetch("/issue_priorities")
}

#[derive(Deserialize)]
pub struct Issue {
    id: u64,
    subject: String,
    description: Option<String>,
    pub status: Value,
    priority: NamedRecord,
    /// All members of the answer that have no field here.
    #[serde(flatten)]
    pub other_members: Value,
}

impl Issue {
    /// Requests an issue. `include` names additional members of the answer, separated by commas.
    pub fn fetch(key: &str, include: &str) -> Result<Self, Error> {
        REDMINE.get(format!("/issues/{key}.json")).query("include", include).fetch("/issue")
    }

    /// Whether the marker is in the marker field or, without such a field, in the description.
    pub fn contains_marker(&self, marker: &str, settings: &Settings) -> bool {
        let mut fields = items(&self.other_members["custom_fields"]);
        match settings.marker_field {
            Some(id) => fields.any(|it| it["id"] == id.0 && it["value"] == marker),
            None => self.description.as_deref().is_some_and(|text| text.contains(marker)),
        }
    }

    pub fn into_defect(self, settings: &Settings) -> Defect {
        Defect {
            key: self.id.to_string(),
            title: self.subject,
            link: page_address(&settings.url, &format!("/issues/{}", self.id), &[]),
            status: self.status["name"].as_str().map(str::to_owned),
            priority: Some(self.priority.name),
            description: self.description,
        }
    }
}

/// Uploads an attachment of the report, and returns the upload. A later request that creates or
/// updates an issue must contain the upload; that request attaches the file.
pub fn upload_attachment(file: &report::Attachment) -> Result<Value, Error> {
    let request = REDMINE.post("/uploads.json").effect(Effect::Prepare);
    let request = request.query("filename", &file.name).attachment(file.id);
    let token: String = request.fetch("/upload/token")?;
    Ok(json!({"token": token, "filename": file.name, "content_type": file.media_type}))
}

pub fn update_issue(key: &str, issue: Value) -> Result<(), Error> {
    REDMINE.put(format!("/issues/{key}.json")).json(json!({"issue": issue})).send().map(drop)
}
