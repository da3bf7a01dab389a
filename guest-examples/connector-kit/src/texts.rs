//! Converts the fields and the attachments of the report for a tracker. Also adds warnings to the
//! event.

use serde_json::Value;

use crate::bindings::jackfield::connector::model::Error;
use crate::bindings::jackfield::connector::{log, report};
use crate::named::NamedRecord;

/// The fields of the report, in two groups. A tracker stores the fields of each group differently.
#[derive(Default)]
pub struct GroupedFields {
    /// The fields that the tracker identifies by a number, with their values.
    pub custom: Vec<(u64, Value)>,
    /// The fields that are members of the record itself, with their values.
    pub members: Vec<(String, Value)>,
    /// A line of text for each field that does not exist in the tracker. The defect is created
    /// without these fields, and its description should contain these lines.
    pub notes: String,
}

/// Reads the fields of the report. `read_custom_fields` returns the fields that the tracker
/// identifies by a number; it is called only if the report has fields. `members` are the names of
/// fields that are members of the record itself.
pub fn read_fields(
    members: &[&str],
    read_custom_fields: impl FnOnce() -> Result<Vec<NamedRecord>, Error>,
) -> Result<GroupedFields, Error> {
    let (report_fields, mut fields) = (report::fields(), GroupedFields::default());
    let custom_fields = if report_fields.is_empty() { Vec::new() } else { read_custom_fields()? };
    for report::Field { name, value } in report_fields {
        let value = Value::from(value);
        match custom_fields.iter().find(|field| field.is_called(&name)) {
            Some(field) => fields.custom.push((field.id, value)),
            None if members.contains(&name.as_str()) => fields.members.push((name, value)),
            // Some trackers do not list all of their fields. So a number is used even if the list
            // does not contain it.
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

/// Returns the attachment of the report that has this id.
pub fn find_attachment(id: u32) -> Result<report::Attachment, Error> {
    let found = report::attachments().into_iter().find(|attachment| attachment.id == id);
    found.ok_or_else(|| Error::rejected(format!("the report has no attachment {id}")))
}

/// Calls `upload` for each attachment of the report. Returns the results of the uploads, and a text
/// with one line about each attachment that was not uploaded.
pub fn upload_attachments<T>(
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

/// Adds a warning to the event, for the person who reads the event later.
pub fn warn(message: &str) {
    log::log(log::Level::Warn, message);
}
