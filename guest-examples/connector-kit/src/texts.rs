//! Converts the report into the forms that most trackers accept, and adds lines to the event.

use serde_json::Value;

use crate::bindings::jackfield::connector::model::Error;
use crate::bindings::jackfield::connector::{log, report};
use crate::named::Named;

/// The fields of the report, sorted by how a tracker stores them.
#[derive(Default)]
pub struct Fields {
    /// Fields that the tracker knows by a number.
    pub custom: Vec<(u64, Value)>,
    /// Fields that are members of the record itself.
    pub members: Vec<(String, Value)>,
    /// A line for each field that the tracker does not have. Such a field must not prevent the
    /// defect.
    pub notes: String,
}

/// Reads the fields of the report. `custom` lists the fields that the tracker knows by a number; it
/// is called only if the report has fields. `members` are the names that need no number.
pub fn fields(
    members: &[&str],
    custom: impl FnOnce() -> Result<Vec<Named>, Error>,
) -> Result<Fields, Error> {
    let (given, mut fields) = (report::fields(), Fields::default());
    let known = if given.is_empty() { Vec::new() } else { custom()? };
    for report::Field { name, value } in given {
        let value = Value::from(value);
        match known.iter().find(|field| field.is_called(&name)) {
            Some(field) => fields.custom.push((field.id, value)),
            None if members.contains(&name.as_str()) => fields.members.push((name, value)),
            // A tracker may not list all of its fields, so a number is used without the list.
            None if name.parse::<u64>().is_ok_and(|id| id > 0) => {
                fields.custom.extend(name.parse().map(|id| (id, value)));
            }
            None => fields.notes += &format!("\n\nNot set: there is no field {name:?}"),
        }
    }
    Ok(fields)
}

impl From<report::FieldValue> for Value {
    fn from(value: report::FieldValue) -> Self {
        match value {
            report::FieldValue::Text(text) => Self::String(text),
            report::FieldValue::Json(json) => serde_json::from_str(&json).unwrap_or_default(),
        }
    }
}

/// Returns the attachment of the report with this id.
pub fn attachment(id: u32) -> Result<report::Attachment, Error> {
    let found = report::attachments().into_iter().find(|attachment| attachment.id == id);
    found.ok_or_else(|| Error::rejected(format!("the report has no attachment {id}")))
}

/// Uploads each attachment of the report. An attachment that the tracker refuses must not prevent
/// the defect, so it becomes a line of the returned text.
pub fn attachments<T>(
    upload: impl Fn(&report::Attachment) -> Result<T, Error>,
) -> (Vec<T>, String) {
    let (mut uploaded, mut notes) = (Vec::new(), String::new());
    for attachment in report::attachments() {
        match upload(&attachment) {
            Ok(done) => uploaded.push(done),
            Err(why) => notes += &format!("\n\nNot attached: {}: {}", attachment.name, why.message),
        }
    }
    (uploaded, notes)
}

/// Adds a line to the event, for the person who reads it later.
pub fn warn(message: &str) {
    log::log(log::Level::Warn, message);
}
