//! The connection's settings, and requests for Redmine's records.

use jackfield_connector_kit::*;
use serde::{Deserialize, de::DeserializeOwned};

pub const REDMINE: Tracker =
    Tracker { name: "Redmine", address: "url", secret: "api-key", words: "/errors" };

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    pub url: String,
    pub project: String,
    tracker: Option<String>,
    priority: Option<String>,
    critical_priorities: List,
    moderate_priorities: List,
    pub marker_field: Option<Number>,
    pub markup: String,
}

impl Settings {
    /// Returns a member of the project's record.
    pub fn project<T: DeserializeOwned>(&self, member: &str) -> Result<T, Error> {
        let request = REDMINE.get(format!("/projects/{}.json", self.project));
        request.query("include", member).fetch(&format!("/project/{member}"))
    }

    /// Returns the custom fields. A project lists its own ones. Those of all projects are in each
    /// issue.
    pub fn custom_fields(&self) -> Result<Vec<Named>, Error> {
        let newest = REDMINE.get("/issues.json").query("status_id", "*").query("sort", "id:desc");
        let issues: Vec<Value> = newest.query("limit", 25).fetch("/issues")?;
        let of_issues = issues.iter().flat_map(|issue| named(&issue["custom_fields"]));
        Ok(self.project::<Vec<_>>("issue_custom_fields")?.into_iter().chain(of_issues).collect())
    }

    /// Returns the id of the Redmine tracker, such as Bug, that the settings name; `None` if they
    /// name none. If the project does not have this tracker, that is an error, because Redmine
    /// would silently use another one.
    pub fn tracker_id(&self) -> Result<Option<u64>, Error> {
        optional_id(&self.tracker, "tracker", || self.project("trackers"))
    }

    pub fn priority_id(&self) -> Result<Option<u64>, Error> {
        optional_id(&self.priority, "priority", priorities)
    }

    /// Returns the critical and the moderate priorities, as values of Redmine's filter: "4|5".
    pub fn counted_priorities(&self) -> Result<[String; 2], Error> {
        let known = priorities()?;
        let critical = ids_of(&known, &self.critical_priorities, "critical-priorities", "|")?;
        Ok([critical, ids_of(&known, &self.moderate_priorities, "moderate-priorities", "|")?])
    }
}

pub fn priorities() -> Result<Vec<Named>, Error> {
    REDMINE.get("/enumerations/issue_priorities.json").fetch("/issue_priorities")
}

#[derive(Deserialize)]
pub struct Issue {
    id: u64,
    subject: String,
    description: Option<String>,
    pub status: Value,
    priority: Named,
    #[serde(flatten)]
    pub more: Value,
}

impl Issue {
    pub fn read(key: &str, include: &str) -> Result<Self, Error> {
        REDMINE.get(format!("/issues/{key}.json")).query("include", include).fetch("/issue")
    }

    pub fn contains(&self, marker: &str, settings: &Settings) -> bool {
        let mut fields = items(&self.more["custom_fields"]);
        match settings.marker_field {
            Some(id) => fields.any(|it| it["id"] == id.0 && it["value"] == marker),
            None => self.description.as_deref().is_some_and(|text| text.contains(marker)),
        }
    }

    pub fn defect(self, settings: &Settings) -> Defect {
        Defect {
            key: self.id.to_string(),
            title: self.subject,
            link: page(&settings.url, &format!("/issues/{}", self.id), &[]),
            status: self.status["name"].as_str().map(str::to_owned),
            priority: Some(self.priority.name),
            description: self.description,
        }
    }
}

/// Uploads an attachment of the report. A create or an update that names the upload attaches it.
pub fn upload(file: &report::Attachment) -> Result<Value, Error> {
    let request = REDMINE.post("/uploads.json").effect(Effect::Prepare);
    let request = request.query("filename", &file.name).attachment(file.id);
    let token: String = request.fetch("/upload/token")?;
    Ok(json!({"token": token, "filename": file.name, "content_type": file.media_type}))
}

pub fn update(key: &str, issue: Value) -> Result<(), Error> {
    REDMINE.put(format!("/issues/{key}.json")).json(json!({"issue": issue})).send().map(drop)
}
