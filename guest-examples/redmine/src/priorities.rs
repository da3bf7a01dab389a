//! Redmine's priorities, and the counts of open, closed, critical and moderate issues.
//!
//! The settings `critical-priorities` and `moderate-priorities` define which priorities count as
//! critical and as moderate.

use serde::Deserialize;

use crate::bindings::jackfield::connector::model::{Counts, Error, ErrorCode};
use crate::client::Client;
use crate::model::{Named, join_names};
use crate::settings::{Names, Settings};

/// All priorities of this Redmine, lowest first.
#[derive(Deserialize)]
pub struct Priorities {
    issue_priorities: Vec<Named>,
}

impl Priorities {
    pub fn fetch(client: &Client) -> Result<Self, Error> {
        client.get("/enumerations/issue_priorities.json", &[])
    }

    pub fn into_names(self) -> impl Iterator<Item = String> {
        self.issue_priorities.into_iter().map(|priority| priority.name)
    }

    /// Returns the id of a priority. An unknown name is an error: if it were ignored, the count
    /// would be zero, which looks like good news.
    pub fn id(&self, name: &str) -> Result<u64, Error> {
        match self.issue_priorities.iter().find(|priority| priority.has_name(name)) {
            Some(priority) => Ok(priority.id),
            None => {
                let known = join_names(&self.issue_priorities);
                let why = format!(
                    "Redmine does not have the priority {name:?}, which a setting names; it has: \
                     {known}"
                );
                Err(Error::new(ErrorCode::Rejected, why))
            }
        }
    }

    /// Returns the ids of several priorities as the value of Redmine's filter, "4|5"; none if
    /// there are no names.
    pub fn filter(&self, names: &Names) -> Result<Option<String>, Error> {
        let ids: Vec<_> = names
            .iter()
            .map(|name| Ok(self.id(name)?.to_string()))
            .collect::<Result<_, Error>>()?;
        Ok(Some(ids.join("|")).filter(|ids| !ids.is_empty()))
    }
}

/// Counts the project's issues, or only those of the configured tracker.
pub fn count(client: &Client, settings: &Settings) -> Result<Counts, Error> {
    // With a wrong API key, Redmine answers as if to an anonymous visitor, who sees fewer issues.
    client.current_user()?;
    let project = client.project(&settings.project)?;
    let tracker = settings.tracker_id(&project)?.map(|id| id.to_string());
    let priorities = Priorities::fetch(client)?;
    let critical = priorities.filter(&settings.critical_priorities)?;
    let moderate = priorities.filter(&settings.moderate_priorities)?;

    let page = format!("/projects/{}/issues", settings.project);
    let count_open = |priorities: &Option<String>| match priorities {
        Some(ids) => client.count_issues(&page, &filters("open", &tracker, Some(ids))),
        None => Ok(0),
    };
    Ok(Counts {
        open: client.count_issues(&page, &filters("open", &tracker, None))?,
        closed: client.count_issues(&page, &filters("closed", &tracker, None))?,
        critical: count_open(&critical)?,
        moderate: count_open(&moderate)?,
        critical_link: critical.map(|ids| {
            let query = [&[("set_filter", "1")], &*filters("open", &tracker, Some(&ids))].concat();
            client.address(&page, &query)
        }),
    })
}

/// Returns a query that works both for the API and for the page that a person opens.
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
