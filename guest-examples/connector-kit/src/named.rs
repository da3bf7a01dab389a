//! Finds the records of a tracker that settings refer to by name or number, such as priorities or
//! fields.

use serde::Deserialize;
use serde_json::Value;

use crate::bindings::exports::jackfield::connector::plugin::{Choice, ChoicesPage};
use crate::bindings::jackfield::connector::model::Error;
use crate::request::items;
use crate::settings::TextList;

/// A record of the tracker that has a number and a name.
#[derive(Deserialize)]
pub struct NamedRecord {
    pub id: u64,
    pub name: String,
}

impl NamedRecord {
    /// Whether a text is the number or the name of this record. Upper and lower case are equal.
    pub fn is_called(&self, text: &str) -> bool {
        self.name.to_lowercase() == text.to_lowercase() || self.id.to_string() == text
    }
}

/// Reads the records of a JSON list. Leaves out records without a number or a name.
pub fn read_named_records(list: &Value) -> Vec<NamedRecord> {
    items(list).filter_map(|item| NamedRecord::deserialize(item).ok()).collect()
}

/// Returns the id of the record that is called `text`, the value of `setting`. An unknown name is
/// an error. Otherwise an issue would be created in the wrong place, or a count would be zero, and
/// no person would notice.
pub fn id_of(records: &[NamedRecord], text: &str, setting: &str) -> Result<u64, Error> {
    let found = records.iter().find(|it| it.is_called(text));
    found.map(|it| it.id).ok_or_else(|| {
        let names: Vec<_> = records.iter().map(|it| it.name.as_str()).collect();
        let names = names.join(", ");
        Error::rejected(format!("{text:?} does not exist; there is: {names}")).with_setting(setting)
    })
}

/// Returns the id of the record that an optional setting names. Calls `read_records` only if the
/// setting has a value.
pub fn optional_id(
    text: &Option<String>,
    setting: &str,
    read_records: impl FnOnce() -> Result<Vec<NamedRecord>, Error>,
) -> Result<Option<u64>, Error> {
    text.as_ref().map(|text| id_of(&read_records()?, text, setting)).transpose()
}

/// Returns the ids of all records that `setting` names. Puts `separator` between the ids.
pub fn ids_of(
    records: &[NamedRecord],
    texts: &TextList,
    setting: &str,
    separator: &str,
) -> Result<String, Error> {
    let ids = texts.iter().map(|text| Ok(id_of(records, text, setting)?.to_string()));
    Ok(ids.collect::<Result<Vec<_>, Error>>()?.join(separator))
}

/// Returns the list of a setting's possible values. `records` are all records that the setting can
/// name.
pub fn to_choices(records: Vec<NamedRecord>) -> ChoicesPage {
    let choices = records.into_iter().map(|it| Choice { value: it.name.clone(), label: it.name });
    ChoicesPage { choices: choices.collect(), more: false }
}
