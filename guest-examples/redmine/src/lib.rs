//! Jackfield connector for Redmine 4.1 and later: creates, finds and counts issues.
//!
//! Start reading here: this file holds the exported functions, each a few calls long. `settings`
//! reads the settings, `client` sends the requests, `issue` creates and finds issues, `priorities`
//! counts them, and `model` has Redmine's records. The connector never sees the API key, because
//! the host adds it to each request.

mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "connector" });
}
mod client;
mod issue;
mod model;
mod priorities;
mod settings;

use bindings::exports::jackfield::connector::{defects, kpis, plugin};
use bindings::jackfield::connector::model::{Counts, Defect, Error, ErrorCode, FailedTest};

use client::Client;
use priorities::Priorities;
use settings::Settings;

/// Has the form of a marker, but belongs to no defect.
const CHECK_MARKER: &str = "jackfieldchecksthissearch0";

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
            // Redmine searches its database, so a new issue is visible immediately.
            index_delay_seconds: Some(0),
        }
    }

    /// Checks every setting, so that a mistake is found here and not when the first test fails.
    fn check() -> Result<String, Error> {
        let settings = Settings::read()?;
        let client = Client::new(&settings);
        let user = client.current_user()?;
        let project = client.project(&settings.project)?;
        settings.tracker_id(&project)?;
        let priorities = Priorities::fetch(&client)?;
        settings.priority.as_deref().map(|name| priorities.id(name)).transpose()?;
        priorities.filter(&settings.critical_priorities)?;
        priorities.filter(&settings.moderate_priorities)?;
        issue::find(&client, &settings, CHECK_MARKER)?;
        Ok(format!(
            "{} as {} ({}), project {}",
            settings.url,
            user.login,
            user.full_name(),
            project.name
        ))
    }

    /// The lists are short, so `search` is not used.
    fn choices(setting: String, _search: String) -> Result<plugin::ChoicesPage, Error> {
        let client = Client::new(&Settings::read_incomplete()?);
        let by_name = |name: String| plugin::Choice { label: name.clone(), value: name };
        let choices = match setting.as_str() {
            "project" => client
                .projects()?
                .into_iter()
                .map(|project| plugin::Choice { value: project.identifier, label: project.name })
                .collect(),
            "tracker" => client.trackers()?.into_iter().map(|it| by_name(it.name)).collect(),
            "priority" | "critical-priorities" | "moderate-priorities" => {
                Priorities::fetch(&client)?.into_names().map(by_name).collect()
            }
            "marker-field" => client
                .issue_custom_fields()?
                .into_iter()
                .map(|field| plugin::Choice { value: field.id.to_string(), label: field.name })
                .collect(),
            other => {
                let why = format!("the setting `{other}` does not have a list of values");
                return Err(Error::new(ErrorCode::Unsupported, why));
            }
        };
        Ok(plugin::ChoicesPage { choices, more: false })
    }
}

impl defects::Guest for Redmine {
    fn create(test: FailedTest, marker: String) -> Result<Defect, Error> {
        let settings = Settings::read()?;
        issue::create(&Client::new(&settings), &settings, &test, &marker)
    }

    fn find(marker: String) -> Result<Vec<Defect>, Error> {
        let settings = Settings::read()?;
        issue::find(&Client::new(&settings), &settings, &marker)
    }
}

impl kpis::Guest for Redmine {
    /// The settings name the Redmine project, so the project id of Test Manager is not used.
    fn count(_project: String) -> Result<Counts, Error> {
        let settings = Settings::read()?;
        priorities::count(&Client::new(&settings), &settings)
    }
}
