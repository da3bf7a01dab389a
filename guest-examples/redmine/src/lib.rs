//! Jackfield connector for Redmine 4.1 and later: creates, finds and counts issues.
//!
//! Start here: the exports, each a few calls long. `settings` reads what the connection says,
//! `client` speaks HTTP, `issue` knows what an issue of ours looks like, `priorities` which ones are
//! critical. Never sees the API key: the host adds it to each request.

mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "connector" });
}
mod client;
mod issue;
mod priorities;
mod settings;

use bindings::exports::jackfield::connector::{defects, kpis, plugin};
use bindings::jackfield::connector::model::{Counts, Defect, Error, FailedTest};

use client::Client;
use priorities::Priorities;
use settings::Settings;

struct Redmine;
bindings::export!(Redmine with_types_in bindings);

impl plugin::Guest for Redmine {
    fn describe() -> plugin::Manifest {
        plugin::Manifest {
            name: "Redmine".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Creates, finds and counts Redmine issues.".to_owned(),
            homepage: Some("https://www.redmine.org/projects/redmine/wiki/Rest_api".to_owned()),
            settings: include_str!("../settings.schema.json").to_owned(),
            settle_seconds: 0,
        }
    }

    /// Proves every setting, not only the way to Redmine: what is wrong shows here and not in the
    /// first failed test.
    fn check() -> Result<String, Error> {
        let settings = Settings::read()?;
        let redmine = Client::new(&settings);
        let user = redmine.current_user()?;
        let project = redmine.project(&settings.project)?;
        settings.tracker_id(&project)?;
        let priorities = Priorities::fetch(&redmine)?;
        settings.priority.as_deref().map(|name| priorities.id(name)).transpose()?;
        priorities.ids(&settings.critical)?;
        priorities.ids(&settings.moderate)?;
        issue::find(&redmine, &settings, "jackfieldchecksthissearch0")?;
        let Settings { url, .. } = &settings;
        Ok(format!("{url} as {} ({}), project {}", user.login, user.name(), project.name))
    }

    fn choices(setting: String) -> Result<Vec<plugin::Choice>, Error> {
        let redmine = Client::new(&Settings::read_partly()?);
        let same = |name: String| plugin::Choice { label: name.clone(), value: name };
        Ok(match setting.as_str() {
            "project" => redmine
                .projects()?
                .into_iter()
                .map(|project| plugin::Choice { value: project.identifier, label: project.name })
                .collect(),
            "tracker" => redmine.trackers()?.into_iter().map(|named| same(named.name)).collect(),
            "priority" | "critical-priorities" | "moderate-priorities" => {
                Priorities::fetch(&redmine)?.names().map(same).collect()
            }
            "marker-field" => redmine
                .issue_custom_fields()?
                .into_iter()
                .map(|named| plugin::Choice { value: named.id.to_string(), label: named.name })
                .collect(),
            other => return Err(Error::Unsupported(format!("`{other}` has no list of values"))),
        })
    }
}

impl defects::Guest for Redmine {
    fn create(test: FailedTest, marker: String) -> Result<Defect, Error> {
        let settings = Settings::read()?;
        issue::create(&Client::new(&settings), &settings, &test, &marker)
    }

    fn find(marker: String) -> Result<Option<Defect>, Error> {
        let settings = Settings::read()?;
        issue::find(&Client::new(&settings), &settings, &marker)
    }
}

impl kpis::Guest for Redmine {
    /// The connection names one Redmine project, so Test Manager's project id does not matter here.
    fn count(_project: String) -> Result<Counts, Error> {
        let settings = Settings::read()?;
        priorities::count(&Client::new(&settings), &settings)
    }
}
