//! Redmine's priorities, and how they map to critical and moderate.
//!
//! The mapping is the connection's: `critical-priorities` and `moderate-priorities` list names.

use serde::Deserialize;

use crate::bindings::jackfield::connector::model::{Counts, Error};
use crate::client::{Client, Named};
use crate::settings::{Names, Settings, names};

/// The priorities that this Redmine has.
#[derive(Deserialize)]
pub struct Priorities {
    issue_priorities: Vec<Named>,
}

impl Priorities {
    /// Asks Redmine.
    pub fn fetch(redmine: &Client) -> Result<Self, Error> {
        redmine.get("/enumerations/issue_priorities.json", &[])
    }

    /// Their names, lowest first.
    pub fn names(self) -> impl Iterator<Item = String> {
        self.issue_priorities.into_iter().map(|priority| priority.name)
    }

    /// The number of a priority. A name that Redmine does not have is refused: counted as nothing
    /// it would look like good news.
    pub fn id(&self, name: &str) -> Result<u64, Error> {
        match self.issue_priorities.iter().find(|priority| priority.is(name)) {
            Some(priority) => Ok(priority.id),
            None => Err(Error::Rejected(format!(
                "mend the connection's settings: Redmine has no priority {name:?}; it has {}",
                names(self.issue_priorities.iter().map(|priority| priority.name.as_str()))
            ))),
        }
    }

    /// The numbers of several, as Redmine's filter takes them: "4|5". Absent: there are none.
    pub fn ids(&self, wanted: &Names) -> Result<Option<String>, Error> {
        let ids: Vec<_> = wanted
            .iter()
            .map(|name| Ok(self.id(name)?.to_string()))
            .collect::<Result<_, Error>>()?;
        Ok(Some(ids.join("|")).filter(|ids| !ids.is_empty()))
    }
}

/// Counts the project's issues (of the configured tracker, if there is one).
pub fn count(redmine: &Client, settings: &Settings) -> Result<Counts, Error> {
    // Redmine serves a wrong key as a stranger, who may see fewer issues, or none.
    redmine.current_user()?;
    let project = redmine.project(&settings.project)?;
    let tracker = settings.tracker_id(&project)?.map(|id| id.to_string());
    let priorities = Priorities::fetch(redmine)?;
    let critical = priorities.ids(&settings.critical)?;
    let moderate = priorities.ids(&settings.moderate)?;

    let page = format!("/projects/{}/issues", settings.project);
    let open_of = |ids: &Option<String>| match ids {
        Some(ids) => redmine.total(&page, &filters("open", &tracker, Some(ids))),
        None => Ok(0),
    };
    Ok(Counts {
        open: redmine.total(&page, &filters("open", &tracker, None))?,
        closed: redmine.total(&page, &filters("closed", &tracker, None))?,
        critical: open_of(&critical)?,
        moderate: open_of(&moderate)?,
        critical_link: critical.map(|ids| {
            let shown = [&[("set_filter", "1")], &*filters("open", &tracker, Some(&ids))].concat();
            redmine.address(&page, &shown)
        }),
    })
}

/// The same filters for the API and for the page that a person opens.
fn filters<'a>(
    status: &'a str,
    tracker: &'a Option<String>,
    priorities: Option<&'a str>,
) -> Vec<(&'a str, &'a str)> {
    let all = [
        ("status_id", Some(status)),
        ("tracker_id", tracker.as_deref()),
        ("priority_id", priorities),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
