//! What the connection says, read once per call and kept as plain values.

use serde::Deserialize;

use crate::bindings::jackfield::connector::model::Error;
use crate::bindings::jackfield::connector::settings;
use crate::client::Project;

/// The settings, by the names of `settings.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Redmine's start page, without a slash at its end.
    pub url: String,
    /// The project's identifier; empty only while `choices` helps to fill in the form.
    #[serde(default)]
    pub project: String,
    /// The tracker's name.
    pub tracker: Option<String>,
    /// The priority's name.
    pub priority: Option<String>,
    /// Names of the priorities that count as critical.
    #[serde(rename = "critical-priorities", default = "critical")]
    pub critical: Names,
    /// Names of the priorities that count as moderate.
    #[serde(rename = "moderate-priorities", default = "moderate")]
    pub moderate: Names,
    /// The custom field that takes the marker, by its number.
    pub marker_field: Option<Number>,
}

/// A list of names, or one text with commas between them (as it comes from a command line).
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Names {
    List(Vec<String>),
    Text(String),
}

/// A number, or one in quotes.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Number {
    Number(u64),
    Text(String),
}

impl Settings {
    /// All settings of a connection that is ready for use.
    pub fn read() -> Result<Self, Error> {
        let settings = Self::read_partly()?;
        match settings.project.as_str() {
            "" => Err(Error::Rejected("the setting `project` is missing".to_owned())),
            _ => Ok(settings),
        }
    }

    /// The settings so far; only `url` must be there.
    pub fn read_partly() -> Result<Self, Error> {
        let mut settings: Self = serde_json::from_str(&settings::all())
            .map_err(|why| Error::Rejected(format!("the settings cannot be used: {why}")))?;
        settings.url.truncate(settings.url.trim_end_matches('/').len());
        Ok(settings)
    }

    /// The number of the configured tracker. Redmine would quietly use another tracker for one that
    /// the project does not have.
    pub fn tracker_id(&self, project: &Project) -> Result<Option<u64>, Error> {
        let Some(wanted) = &self.tracker else { return Ok(None) };
        match project.trackers.iter().find(|tracker| tracker.is(wanted)) {
            Some(tracker) => Ok(Some(tracker.id)),
            None => Err(Error::Rejected(format!(
                "setting `tracker`: project {} has no tracker {wanted:?}; it has {}",
                project.name,
                names(project.trackers.iter().map(|tracker| tracker.name.as_str()))
            ))),
        }
    }

    /// The number of the custom field that takes the marker.
    pub fn marker_field(&self) -> Result<Option<u64>, Error> {
        match &self.marker_field {
            None => Ok(None),
            Some(Number::Number(id)) => Ok(Some(*id)),
            Some(Number::Text(text)) => text.parse().map(Some).map_err(|_| {
                Error::Rejected(format!("setting `marker-field`: {text:?} is no number"))
            }),
        }
    }
}

impl Names {
    /// The names, trimmed, without empty ones.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (list, text) = match self {
            Self::List(list) => (list.as_slice(), ""),
            Self::Text(text) => (&[][..], text.as_str()),
        };
        let names = list.iter().map(String::as_str).chain(text.split(','));
        names.map(str::trim).filter(|name| !name.is_empty())
    }
}

/// Names for a person to choose from.
pub fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn critical() -> Names {
    Names::Text("Urgent,Immediate".to_owned())
}

fn moderate() -> Names {
    Names::Text("High".to_owned())
}
