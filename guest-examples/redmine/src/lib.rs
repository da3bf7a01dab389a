//! Jackfield connector for Redmine 5 and later. The connector never receives the API key: the host
//! adds the key to each request.

mod redmine;

use jackfield_connector_kit::*;

use redmine::{Issue, REDMINE, Settings, fetch_priorities, update_issue, upload_attachment};

/// The maximum length of a description or a comment, before `create` appends notes. In every
/// database that Redmine supports, a text of this length fits into its column.
const TEXT_CHARS_MAX: u32 = 16_000;
/// The members of an issue that a connection may set as fields of the report, in addition to custom
/// fields.
const SETTABLE_MEMBERS: [&str; 4] =
    ["assigned_to_id", "category_id", "due_date", "fixed_version_id"];

struct Redmine;
connector!(Redmine);

impl Connector for Redmine {
    type Settings = Settings;
    const NAME: &str = "Redmine";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Creates, finds and counts Redmine issues, and comments on them.";
    const SCHEMA: &str = include_str!("../settings.schema.json");
    // Redmine searches its database directly, so the search finds a new issue immediately.
    const INDEX_DELAY_SECONDS: Option<u32> = Some(0);

    /// Checks each setting that names something in Redmine, so that a person notices a mistake now,
    /// and not when the first test fails.
    fn check(settings: Settings) -> Result<String, Error> {
        let (user, project) = (current_user()?, settings.fetch_project_member::<String>("name")?);
        let _ = (settings.tracker_id()?, settings.priority_id()?, settings.counted_priorities()?);
        let reached = format!("{} as {user}, project {project}", settings.url);
        Self::find(settings, "jackfieldchecksthissearch0").map(|_| reached)
    }

    fn choices(setting: &str, _search: &str) -> Result<ChoicesPage, Error> {
        let trackers = || REDMINE.get("/trackers.json").fetch("/trackers");
        Ok(to_choices(if setting == "tracker" { trackers()? } else { fetch_priorities()? }))
    }

    /// Sends the only write last, so no issue exists if an earlier request fails. If a field is
    /// unknown or a file cannot be uploaded, the issue is created without it, and the description
    /// says so.
    fn create(settings: Settings, _test: FailedTest, marker: &str) -> Result<Defect, Error> {
        let mut fields = read_fields(&SETTABLE_MEMBERS, || settings.fetch_custom_fields())?;
        fields.custom.extend(settings.marker_field.map(|id| (id.0, marker.into())));
        let custom = fields.custom.into_iter().map(|(id, value)| json!({"id": id, "value": value}));
        let marker_in_text = settings.marker_field.is_none().then_some(marker);
        let text = report::description(&settings.markup, TEXT_CHARS_MAX, marker_in_text)?;
        let mut issue = json!({"project_id": settings.project, "subject": report::title(255),
            "tracker_id": settings.tracker_id()?, "priority_id": settings.priority_id()?,
            "custom_fields": custom.collect::<Vec<_>>()});
        let (uploads, not_attached) = upload_attachments(upload_attachment);
        issue["uploads"] = uploads.into();
        issue["description"] = (text + &fields.notes + &not_attached).into();
        fields.members.into_iter().for_each(|(name, value)| issue[name] = value);
        let issue: Issue =
            REDMINE.post("/issues.json").json(json!({"issue": issue})).fetch("/issue")?;
        // The issue exists now, so a missing marker is not an error, but a warning in the event.
        if !issue.contains_marker(marker, &settings) {
            let place =
                if settings.marker_field.is_some() { "marker field" } else { "description" };
            warn(&format!("Redmine did not store the marker: may the user edit the {place}?"));
        }
        Ok(issue.into_defect(&settings))
    }

    fn find(settings: Settings, marker: &str) -> Result<Vec<Defect>, Error> {
        let search = REDMINE.get("/issues.json").query("status_id", "*").query("sort", "id");
        let search = match settings.marker_field {
            Some(id) => search.query(&format!("cf_{}", id.0), marker),
            None => search.query("description", format!("~{marker}")),
        };
        let issues: Vec<Issue> = search.query("limit", 5).fetch("/issues")?;
        if issues.is_empty() {
            current_user()?;
        }
        // Redmine ignores a filter that does not exist in it, and returns all issues.
        if !issues.iter().all(|issue| issue.contains_marker(marker, &settings)) {
            let why = "Redmine cannot search for the marker: \"Used as a filter\" must be checked";
            return Err(Error::unsupported(why).with_setting("marker-field"));
        }
        Ok(issues.into_iter().map(|issue| issue.into_defect(&settings)).collect())
    }

    /// Test Manager's project id is not used, because the settings name the project of Redmine.
    fn count(settings: Settings, _project: &str) -> Result<Counts, Error> {
        current_user()?;
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
                .then(|| page_address(&settings.url, &path, &critical_page)),
        })
    }
}

impl FollowUp for Redmine {
    fn state(settings: Settings, key: &str) -> Result<Option<(bool, Defect)>, Error> {
        match Issue::fetch(key, "") {
            // The issue is deleted, or the API key is wrong. In the second case, `current_user`
            // fails.
            Err(error) if error.is_not_found() => current_user().map(|_| None),
            found => {
                found.map(|it| Some((it.status["is_closed"] != true, it.into_defect(&settings))))
            }
        }
    }

    fn comment(s: Settings, key: &str, _test: FailedTest, marker: &str) -> Result<(), Error> {
        update_issue(key, json!({"notes": report::comment(&s.markup, TEXT_CHARS_MAX, marker)?}))
    }

    fn find_comment(_: Settings, key: &str, marker: &str) -> Result<bool, Error> {
        let issue = Issue::fetch(key, "journals")?;
        Ok(member_texts(&issue.other_members["journals"], "notes")
            .any(|notes| notes.contains(marker)))
    }

    /// Reads the allowed statuses first, because Redmine ignores a status that the workflow does
    /// not allow.
    fn reopen(_: Settings, key: &str) -> Result<(), Error> {
        let issue = Issue::fetch(key, "allowed_statuses")?;
        match items(&issue.other_members["allowed_statuses"])
            .find(|status| status["is_closed"] != true)
        {
            _ if issue.status["is_closed"] != true => Ok(()),
            Some(status) => update_issue(key, json!({"status_id": status["id"]})),
            None => Err(Error::rejected("the workflow does not allow to open this issue again")),
        }
    }

    fn attach(_: Settings, key: &str, id: u32) -> Result<(), Error> {
        update_issue(key, json!({"uploads": [upload_attachment(&find_attachment(id)?)?]}))
    }

    fn attached(_: Settings, key: &str) -> Result<Vec<String>, Error> {
        let issue = Issue::fetch(key, "attachments")?;
        Ok(member_texts(&issue.other_members["attachments"], "filename")
            .map(str::to_owned)
            .collect())
    }
}

/// Returns the login of the user to whom the API key belongs. If this key is wrong, this request
/// always fails. Redmine may answer other requests, as requests of an anonymous visitor.
fn current_user() -> Result<String, Error> {
    REDMINE.get("/users/current.json").fetch("/user/login")
}
