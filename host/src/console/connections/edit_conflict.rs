//! Merges the changes if two people edit a connection at the same time. A form also sends the texts
//! that it showed when it was loaded, so the server can find out which person changed which value.
//!
//! Secrets are not compared, because a form never shows them.

use std::collections::{BTreeMap, BTreeSet};

use crate::console::form::Form;
use crate::console::parts::Field;

/// The hidden field with the revision of the connection when the form was loaded.
const REVISION_FIELD: &str = "revision";
/// The hidden field with the texts of the form when it was loaded.
const SHOWN_TEXTS_FIELD: &str = "shown";

/// By the names of the fields.
type FieldTexts = BTreeMap<String, String>;

/// The state of a connection that a person saw when they began to edit it.
#[derive(Debug)]
pub(super) struct SeenState {
    pub(super) revision: u64,
    shown_texts: FieldTexts,
}

/// A value that another person changed while this person edited the form.
#[derive(Debug, PartialEq)]
pub(super) struct OtherChange {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) old_value: String,
    pub(super) new_value: String,
    /// The value that this person entered, if both people changed the value.
    pub(super) own_value: Option<String>,
}

impl SeenState {
    pub(super) fn new<'f>(revision: u64, fields: impl Iterator<Item = &'f Field>) -> Self {
        let texts = fields.filter_map(|it| Some((it.name.clone(), it.control.shown_text()?)));
        Self { revision, shown_texts: texts.collect() }
    }

    /// Returns `None` if the hidden fields are missing or not valid: such a form does not come from
    /// the console.
    pub(super) fn from_form(form: &Form) -> Option<Self> {
        let revision = form.get(REVISION_FIELD).parse().ok()?;
        let shown_texts = serde_json::from_str(form.get(SHOWN_TEXTS_FIELD)).ok()?;
        Some(Self { revision, shown_texts })
    }

    /// Returns the names and values of the hidden fields.
    pub(super) fn hidden_fields(&self) -> [(&'static str, String); 2] {
        let shown_texts = serde_json::to_string(&self.shown_texts).unwrap_or_default();
        [(REVISION_FIELD, self.revision.to_string()), (SHOWN_TEXTS_FIELD, shown_texts)]
    }
}

/// Enters in the form each value that only the other person changed. Returns the changes of the
/// other person, except those that this person made too. `latest` are the fields with the present
/// state of the connection.
pub(super) fn merge_changes<'f>(
    form: &mut Form,
    seen: &SeenState,
    latest: impl Iterator<Item = &'f Field>,
) -> Vec<OtherChange> {
    let latest: BTreeMap<_, _> = latest
        .filter_map(|it| Some((it.name.clone(), (it.label.clone(), it.control.shown_text()?))))
        .collect();
    let names: BTreeSet<_> = seen.shown_texts.keys().chain(latest.keys()).cloned().collect();
    let mut changes = Vec::new();
    for name in names {
        let old_value = seen.shown_texts.get(&name).cloned().unwrap_or_default();
        let (label, new_value) =
            latest.get(&name).cloned().unwrap_or((name.clone(), String::new()));
        let entered = with_unix_line_ends(form.get(&name));
        let (old_text, new_text) =
            (with_unix_line_ends(&old_value), with_unix_line_ends(&new_value));
        if old_text == new_text || entered == new_text {
            continue;
        }
        let own_value = (entered != old_text).then_some(entered);
        if own_value.is_none() {
            form.set(&name, &new_value);
        }
        changes.push(OtherChange { name, label, old_value, new_value, own_value });
    }
    changes
}

/// A browser sends other line ends than the server sent.
fn with_unix_line_ends(text: &str) -> String {
    text.replace("\r\n", "\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Field {
        Field::text(name, name.to_uppercase(), value)
    }

    #[test]
    fn a_change_of_another_person_is_kept_unless_both_people_changed_the_same_value() {
        let shown = [field("a", "1"), field("b", "1"), field("c", "1\n2"), field("d", "1")];
        let seen = SeenState::new(7, shown.iter());
        let [(_, revision), (_, texts)] = seen.hidden_fields();
        let encoded: String = url::form_urlencoded::byte_serialize(texts.as_bytes()).collect();
        let body = format!("revision={revision}&shown={encoded}&a=1&b=own&c=1%0D%0A2&d=same");
        let mut form = Form::parse(body.as_bytes());
        let seen = SeenState::from_form(&form).unwrap();
        assert_eq!(seen.revision, 7);
        let latest = [field("a", "2"), field("b", "2"), field("c", "1\n2"), field("d", "same")];
        let changes = merge_changes(&mut form, &seen, latest.iter());
        let change = |name: &str, own_value: Option<&str>| OtherChange {
            name: name.to_owned(),
            label: name.to_uppercase(),
            old_value: "1".to_owned(),
            new_value: "2".to_owned(),
            own_value: own_value.map(str::to_owned),
        };
        assert_eq!(changes, [change("a", None), change("b", Some("own"))]);
        assert_eq!([form.get("a"), form.get("b"), form.get("d")], ["2", "own", "same"]);
        assert!(SeenState::from_form(&Form::parse(b"revision=7")).is_none());
    }
}
