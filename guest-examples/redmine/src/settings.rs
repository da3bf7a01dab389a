//! The connection's settings, read once per call.
//!
//! Never sends a request: names are compared with what Redmine answered elsewhere.

use serde::Deserialize;

use crate::bindings::jackfield::connector::model::{Error, ErrorCode};
use crate::bindings::jackfield::connector::settings;
use crate::model::{Project, join_names};

/// The settings of `settings.schema.json`. The API key is missing: the host never shows it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Redmine's start page, without a trailing slash.
    pub url: String,
    /// The project's identifier; empty only while `choices` helps to fill in the settings.
    #[serde(default)]
    pub project: String,
    /// The name of the tracker.
    pub tracker: Option<String>,
    /// The name of the priority of new issues.
    pub priority: Option<String>,
    /// The names of the priorities that count as critical.
    #[serde(default = "default_critical")]
    pub critical_priorities: Names,
    /// The names of the priorities that count as moderate.
    #[serde(default = "default_moderate")]
    pub moderate_priorities: Names,
    /// The id of the custom field that stores the marker.
    marker_field: Option<Id>,
}

/// A list of names, or one text with commas, as a command line passes it.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Names {
    List(Vec<String>),
    Text(String),
}

/// A number, or a text with a number in it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Text(String),
}

impl Settings {
    /// Reads the settings of a complete connection.
    pub fn read() -> Result<Self, Error> {
        let settings = Self::read_incomplete()?;
        match settings.project.as_str() {
            "" => Err(Error::new(ErrorCode::Rejected, "the setting is missing").about("project")),
            _ => Ok(settings),
        }
    }

    /// Reads the settings of a connection that is not complete yet; only `url` is required.
    pub fn read_incomplete() -> Result<Self, Error> {
        let mut settings: Self = serde_json::from_str(&settings::all()).map_err(|error| {
            Error::new(ErrorCode::Rejected, format!("the settings are not valid: {error}"))
        })?;
        settings.url.truncate(settings.url.trim_end_matches('/').len());
        Ok(settings)
    }

    /// Returns the id of the configured tracker. If the project does not have this tracker, Redmine
    /// would silently use another one, so this is an error.
    pub fn tracker_id(&self, project: &Project) -> Result<Option<u64>, Error> {
        let Some(name) = &self.tracker else { return Ok(None) };
        match project.trackers.iter().find(|tracker| tracker.has_name(name)) {
            Some(tracker) => Ok(Some(tracker.id)),
            None => {
                let why = format!(
                    "the setting `tracker` is {name:?}, but the project {} has only these \
                     trackers: {}",
                    project.name,
                    join_names(&project.trackers)
                );
                Err(Error::new(ErrorCode::Rejected, why).about("tracker"))
            }
        }
    }

    /// Returns the id of the custom field that stores the marker.
    pub fn marker_field_id(&self) -> Result<Option<u64>, Error> {
        match &self.marker_field {
            None => Ok(None),
            Some(Id::Number(id)) => Ok(Some(*id)),
            Some(Id::Text(text)) => text.parse().map(Some).map_err(|_| {
                let why = format!(
                    "the setting `marker-field` is {text:?}, but must be the id of a custom field, \
                     a number"
                );
                Error::new(ErrorCode::Rejected, why).about("marker-field")
            }),
        }
    }
}

impl Names {
    /// Returns the names, trimmed and without empty ones.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (list, text) = match self {
            Self::List(list) => (list.as_slice(), ""),
            Self::Text(text) => (&[][..], text.as_str()),
        };
        let names = list.iter().map(String::as_str).chain(text.split(','));
        names.map(str::trim).filter(|name| !name.is_empty())
    }
}

// The host does not fill in defaults: these repeat the schema's.

fn default_critical() -> Names {
    Names::Text("Urgent,Immediate".to_owned())
}

fn default_moderate() -> Names {
    Names::Text("High".to_owned())
}
