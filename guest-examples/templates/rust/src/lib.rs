//! A connector for a small tracker. The contract, which is also the manual, is `wit/connector.wit`.

use jackfield_connector_kit::*;
use serde::Deserialize;

const TRACKER: Tracker =
    Tracker { name: "The tracker", address: "url", secret: "api-key", words: "/errors" };

/// The settings of `settings.schema.json`. The connector never sees the API key: the host adds it.
#[derive(Deserialize)]
struct Settings {
    url: String,
    project: String,
    critical: List,
}

#[derive(Deserialize)]
struct Issue {
    id: u64,
    subject: String,
    description: String,
    status: Named,
    priority: Named,
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

    /// Reads the report first, checks what may fail, and sends the only write last.
    fn create(settings: Settings, _test: FailedTest, marker: &str) -> Result<Defect, Error> {
        let issue = json!({"issue": {"project_id": settings.project,
            "description": report::description("markdown", 16_000, Some(marker))?,
            "subject": report::title(255)}});
        Ok(TRACKER.post("/issues.json").json(issue).fetch::<Issue>("/issue")?.defect(&settings))
    }

    fn find(settings: Settings, marker: &str) -> Result<Vec<Defect>, Error> {
        let list = TRACKER.get("/issues.json").query("status_id", "*").query("limit", 5);
        let found: Vec<Issue> = list.query("description", format!("~{marker}")).fetch("/issues")?;
        if found.is_empty() {
            user()?; // Fails if the key is wrong: the list would be empty, too.
        }
        if !found.iter().all(|issue| issue.description.contains(marker)) {
            return Err(Error::unsupported("the tracker ignores the search for the marker"));
        }
        Ok(found.into_iter().map(|issue| issue.defect(&settings)).collect())
    }

    fn count(settings: Settings, _project: &str) -> Result<Counts, Error> {
        user()?;
        let priorities = TRACKER.get("/enumerations/issue_priorities.json");
        let known: Vec<Named> = priorities.fetch("/issue_priorities")?;
        let critical = ids_of(&known, &settings.critical, "critical", "|")?;
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
            critical_link: Some(page(&settings.url, &path, &open_critical)),
        })
    }
}

impl Issue {
    fn defect(self, settings: &Settings) -> Defect {
        Defect {
            key: self.id.to_string(),
            title: self.subject,
            link: page(&settings.url, &format!("/issues/{}", self.id), &[]),
            status: Some(self.status.name),
            priority: Some(self.priority.name),
            description: Some(self.description),
        }
    }
}

/// The key's user. Other requests may answer a wrong key as an anonymous visitor.
fn user() -> Result<String, Error> {
    TRACKER.get("/users/current.json").fetch("/user/login")
}
