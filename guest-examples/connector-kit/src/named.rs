//! Records of a tracker that settings refer to by name: priorities, fields, users.

use serde::Deserialize;
use serde_json::Value;

use crate::bindings::exports::jackfield::connector::plugin::{Choice, ChoicesPage};
use crate::bindings::jackfield::connector::model::Error;
use crate::request::items;
use crate::settings::List;

/// A record with a number and a name.
#[derive(Deserialize)]
pub struct Named {
    pub id: u64,
    pub name: String,
}

impl Named {
    /// Whether a text is this record's number or its name; upper and lower case are equal.
    pub fn is_called(&self, text: &str) -> bool {
        self.name.to_lowercase() == text.to_lowercase() || self.id.to_string() == text
    }
}

/// Returns the records of a JSON list that have a number and a name.
pub fn named(list: &Value) -> Vec<Named> {
    items(list).filter_map(|item| Named::deserialize(item).ok()).collect()
}

/// Returns the id of the record that `setting` names. An unknown name is an error: otherwise an
/// issue would be in the wrong place, or a count would be zero, without an error.
pub fn id_of(known: &[Named], text: &str, setting: &str) -> Result<u64, Error> {
    let found = known.iter().find(|it| it.is_called(text));
    found.map(|it| it.id).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|it| it.name.as_str()).collect();
        let names = names.join(", ");
        Error::rejected(format!("{text:?} does not exist; there is: {names}")).about(setting)
    })
}

/// Returns the id of the record that an optional setting names. Calls `known` only if the setting
/// is set.
pub fn optional_id(
    text: &Option<String>,
    setting: &str,
    known: impl FnOnce() -> Result<Vec<Named>, Error>,
) -> Result<Option<u64>, Error> {
    text.as_ref().map(|text| id_of(&known()?, text, setting)).transpose()
}

/// Returns the ids of all records that `setting` names, joined with `separator`.
pub fn ids_of(
    known: &[Named],
    texts: &List,
    setting: &str,
    separator: &str,
) -> Result<String, Error> {
    let ids = texts.iter().map(|text| Ok(id_of(known, text, setting)?.to_string()));
    Ok(ids.collect::<Result<Vec<_>, Error>>()?.join(separator))
}

/// Lists records as the possible values of a setting that names one of them. The list is complete.
pub fn choices(known: Vec<Named>) -> ChoicesPage {
    let choices = known.into_iter().map(|it| Choice { value: it.name.clone(), label: it.name });
    ChoicesPage { choices: choices.collect(), more: false }
}
