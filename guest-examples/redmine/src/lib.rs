//! Jackfield connector for Redmine 5 and later. It never sees the API key: the host adds it.

mod redmine;

use jackfield_connector_kit::*;

use redmine::{Issue, REDMINE, Settings, priorities, update, upload};

/// The longest text that fits into the text column of every database of Redmine.
const TEXT_CHARS_MAX: u32 = 16_000;
/// The members of an issue that the field map of a connection may set besides custom fields.
const MEMBERS: [&str; 4] = ["assigned_to_id", "category_id", "due_date", "fixed_version_id"];

struct Redmine;
connector!(Redmine);

impl Connector for Redmine {
    type Settings = Settings;
    const NAME: &str = "Redmine";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Creates, finds and counts Redmine issues, and comments on them.";
    const SCHEMA: &str = include_str!("../settings.schema.json");
    // Redmine searches its database, so a new issue is visible immediately.
    const INDEX_DELAY_SECONDS: Option<u32> = Some(0);

    /// Checks every setting, so that a person notices a mistake here and not when the first test
    /// fails.
    fn check(settings: Settings) -> Result<String, Error> {
        let (user, project) = (user()?, settings.project::<String>("name")?);
        let _ = (settings.tracker_id()?, settings.priority_id()?, settings.counted_priorities()?);
        let reached = format!("{} as {user}, project {project}", settings.url);
        Self::find(settings, "jackfieldchecksthissearch0").map(|_| reached)
    }

    fn choices(setting: &str, _search: &str) -> Result<ChoicesPage, Error> {
        let trackers = || REDMINE.get("/trackers.json").fetch("/trackers");
        Ok(choices(if setting == "tracker" { trackers()? } else { priorities()? }))
    }

    /// All other requests are sent before the only write, so if one of them fails, there is no
    /// issue yet. The description lists what cannot be set or attached, so the issue is created
    /// nevertheless.
    fn create(settings: Settings, _test: FailedTest, marker: &str) -> Result<Defect, Error> {
        let mut fields = fields(&MEMBERS, || settings.custom_fields())?;
        fields.custom.extend(settings.marker_field.map(|id| (id.0, marker.into())));
        let custom = fields.custom.into_iter().map(|(id, value)| json!({"id": id, "value": value}));
        let marker_in_text = settings.marker_field.is_none().then_some(marker);
        let text = report::description(&settings.markup, TEXT_CHARS_MAX, marker_in_text)?;
        let mut issue = json!({"project_id": settings.project, "subject": report::title(255),
            "tracker_id": settings.tracker_id()?, "priority_id": settings.priority_id()?,
            "custom_fields": custom.collect::<Vec<_>>()});
        let (uploads, not_attached) = attachments(upload);
        issue["uploads"] = uploads.into();
        issue["description"] = (text + &fields.notes + &not_attached).into();
        fields.members.into_iter().for_each(|(name, value)| issue[name] = value);
        let issue: Issue =
            REDMINE.post("/issues.json").json(json!({"issue": issue})).fetch("/issue")?;
        // The issue exists now, so a missing marker is not an error but a line for the person.
        if !issue.contains(marker, &settings) {
            warn("Redmine did not store the marker: may the user edit the field `marker-field`?");
        }
        Ok(issue.defect(&settings))
    }

    fn find(settings: Settings, marker: &str) -> Result<Vec<Defect>, Error> {
        let search = REDMINE.get("/issues.json").query("status_id", "*").query("sort", "id");
        let search = match settings.marker_field {
            Some(id) => search.query(&format!("cf_{}", id.0), marker),
            None => search.query("description", format!("~{marker}")),
        };
        let issues: Vec<Issue> = search.query("limit", 5).fetch("/issues")?;
        if issues.is_empty() {
            user()?;
        }
        // Redmine ignores a filter that it does not know, and returns all issues.
        if !issues.iter().all(|issue| issue.contains(marker, &settings)) {
            let why = "Redmine cannot search for the marker: \"Used as a filter\" must be checked";
            return Err(Error::unsupported(why).about("marker-field"));
        }
        Ok(issues.into_iter().map(|issue| issue.defect(&settings)).collect())
    }

    /// The settings name the Redmine project, so Test Manager's project id is not used.
    fn count(settings: Settings, _project: &str) -> Result<Counts, Error> {
        user()?;
        let tracker = settings.tracker_id()?.map(|id| id.to_string()).unwrap_or_default();
        let [critical, moderate] = settings.counted_priorities()?;
        let path = format!("/projects/{}/issues", settings.project);
        let filter =
            |status, ids| [("status_id", status), ("tracker_id", &*tracker), ("priority_id", ids)];
        let count = |status, ids| {
            let request = REDMINE.get(format!("{path}.json")).queries(&filter(status, ids));
            request.query("limit", 1).fetch("/total_count")
        };
        let critical_page = [&filter("open", &critical)[..], &[("set_filter", "1")]].concat();
        Ok(Counts {
            open: count("open", "")?,
            closed: count("closed", "")?,
            critical: if critical.is_empty() { 0 } else { count("open", &critical)? },
            moderate: if moderate.is_empty() { 0 } else { count("open", &moderate)? },
            critical_link: (!critical.is_empty())
                .then(|| page(&settings.url, &path, &critical_page)),
        })
    }
}

impl FollowUp for Redmine {
    fn state(settings: Settings, key: &str) -> Result<Option<(bool, Defect)>, Error> {
        match Issue::read(key, "") {
            // The issue is deleted, unless the credentials are wrong.
            Err(error) if error.is_not_found() => user().map(|_| None),
            found => found.map(|it| Some((it.status["is_closed"] != true, it.defect(&settings)))),
        }
    }

    fn comment(s: Settings, key: &str, _test: FailedTest, marker: &str) -> Result<(), Error> {
        update(key, json!({"notes": report::comment(&s.markup, TEXT_CHARS_MAX, marker)?}))
    }

    fn find_comment(_: Settings, key: &str, marker: &str) -> Result<bool, Error> {
        let issue = Issue::read(key, "journals")?;
        Ok(texts(&issue.more["journals"], "notes").any(|notes| notes.contains(marker)))
    }

    /// Redmine ignores a status that the workflow does not allow, so the allowed ones are read
    /// first.
    fn reopen(_: Settings, key: &str) -> Result<(), Error> {
        let issue = Issue::read(key, "allowed_statuses")?;
        match items(&issue.more["allowed_statuses"]).find(|status| status["is_closed"] != true) {
            _ if issue.status["is_closed"] != true => Ok(()),
            Some(status) => update(key, json!({"status_id": status["id"]})),
            None => Err(Error::rejected("the workflow does not allow to open this issue again")),
        }
    }

    fn attach(_: Settings, key: &str, id: u32) -> Result<(), Error> {
        update(key, json!({"uploads": [upload(&attachment(id)?)?]}))
    }

    fn attached(_: Settings, key: &str) -> Result<Vec<String>, Error> {
        let issue = Issue::read(key, "attachments")?;
        Ok(texts(&issue.more["attachments"], "filename").map(str::to_owned).collect())
    }
}

/// Returns the login of the key's user. With a wrong key, other requests are answered anonymously.
fn user() -> Result<String, Error> {
    REDMINE.get("/users/current.json").fetch("/user/login")
}
