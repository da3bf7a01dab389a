//! A connector for a small tracker. The contract and the manual are in `wit/connector.wit`.

use jackfield_connector_kit::*;
use serde::Deserialize;

const TRACKER: Tracker =
    Tracker { name: "The tracker", address: "url", secret: "api-key", reasons: "/errors" };

/// The settings of `settings.schema.json`. The host adds the API key to each request.
#[derive(Deserialize)]
struct Settings {
    url: String,
    project: String,
    critical: TextList,
}

#[derive(Deserialize)]
struct Issue {
    id: u64,
    subject: String,
    description: String,
    status: NamedRecord,
    priority: NamedRecord,
}

struct SampleTracker;
connector!(SampleTracker);

impl Connector for SampleTracker {
    type Settings = Settings;
    const NAME: &str = "Sample tracker";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Creates, finds and counts issues of a small tracker.";
    const SCHEMA: &str = include_str!("../settings.schema.json");
    const INDEX_DELAY_SECONDS: Option<u32> = Some(0);

    fn check(settings: Settings) -> Result<String, Error> {
        Ok(format!("reached as {}, {} open issues", user()?, Self::count(settings, "")?.open))
    }

    /// Reads the report, then sends the only write. So no issue exists if an earlier step fails.
    fn create(settings: Settings, _test: FailedTest, marker: &str) -> Result<Defect, Error> {
        let body = json!({"issue": {"project_id": settings.project,
            "description": report::description("markdown", 16_000, Some(marker))?,
            "subject": report::title(255)}});
        Ok(TRACKER.post("/issues.json").json(body).fetch::<Issue>("/issue")?.into_defect(&settings))
    }

    fn find(settings: Settings, marker: &str) -> Result<Vec<Defect>, Error> {
        let list = TRACKER.get("/issues.json").query("status_id", "*").query("limit", 5);
        let found: Vec<Issue> = list.query("description", format!("~{marker}")).fetch("/issues")?;
        if found.is_empty() {
            user()?; // The list is also empty if the API key is wrong. Then this request fails.
        }
        if !found.iter().all(|issue| issue.description.contains(marker)) {
            return Err(Error::unsupported("the tracker ignores the search for the marker"));
        }
        Ok(found.into_iter().map(|issue| issue.into_defect(&settings)).collect())
    }

    fn count(settings: Settings, _project: &str) -> Result<Counts, Error> {
        user()?;
        let priorities = TRACKER.get("/enumerations/issue_priorities.json");
        let records: Vec<NamedRecord> = priorities.fetch("/issue_priorities")?;
        let critical = ids_of(&records, &settings.critical, "critical", "|")?;
        let path = format!("/projects/{}/issues", settings.project);
        let count = |filter: &[(&str, &str)]| -> Result<u32, Error> {
            let request = TRACKER.get(format!("{path}.json")).queries(filter);
            request.query("limit", 1).fetch("/total_count")
        };
        let open_critical = [("status_id", "open"), ("priority_id", &*critical)];
        let (open, critical) = (count(&[("status_id", "open")])?, count(&open_critical)?);
        Ok(Counts {
            open,
            closed: count(&[("status_id", "closed")])?,
            critical,
            moderate: open.saturating_sub(critical),
            critical_link: Some(page_address(&settings.url, &path, &open_critical)),
        })
    }
}

impl Issue {
    fn into_defect(self, settings: &Settings) -> Defect {
        Defect {
            key: self.id.to_string(),
            title: self.subject,
            link: page_address(&settings.url, &format!("/issues/{}", self.id), &[]),
            status: Some(self.status.name),
            priority: Some(self.priority.name),
            description: Some(self.description),
        }
    }
}

/// Returns the user of the API key. A tracker may answer other requests even if this key is wrong.
fn user() -> Result<String, Error> {
    TRACKER.get("/users/current.json").fetch("/user/login")
}
