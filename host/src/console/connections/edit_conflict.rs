//! Merges the changes if two people edit a connection at the same time. A form also sends the
//! values that it showed when it was loaded. So the server can tell the changes of the other person
//! from those of this person, and keeps both. If both changed the same value, the form shows both
//! values.
//!
//! Secrets are not compared, because a form never shows them.

use std::collections::{BTreeMap, BTreeSet};

use crate::console::form::Form;
use crate::console::parts::Field;

/// The hidden field with the revision of the connection that the form was made from.
pub(super) const REVISION: &str = "revision";
/// The hidden field with the texts that the form showed when it was loaded.
const SHOWN: &str = "shown";

/// The texts of a form by the names of its fields.
type FieldTexts = BTreeMap<String, String>;

/// The state of a connection that a person saw when they began to edit it.
#[derive(Debug)]
pub(super) struct SeenState {
    pub(super) revision: u64,
    shown: FieldTexts,
}

/// A value that another person changed while this person edited the form.
#[derive(Debug, PartialEq)]
pub(super) struct OtherChange {
    /// The name of the field that contains the value.
    pub(super) name: String,
    pub(super) label: String,
    pub(super) before: String,
    pub(super) after: String,
    /// The value that this person entered, if both changed the value.
    pub(super) own_value: Option<String>,
}

impl SeenState {
    /// The state that a form with these fields shows, made from this revision.
    pub(super) fn new<'f>(revision: u64, fields: impl Iterator<Item = &'f Field>) -> Self {
        let texts = fields.filter_map(|it| Some((it.name.clone(), it.control.text()?)));
        Self { revision, shown: texts.collect() }
    }

    /// Reads the state from the hidden fields of a form. `None` if the form does not have them,
    /// because it is not from the console.
    pub(super) fn from_form(form: &Form) -> Option<Self> {
        let revision = form.get(REVISION).parse().ok()?;
        let shown = serde_json::from_str(form.get(SHOWN)).ok()?;
        Some(Self { revision, shown })
    }

    /// The names and values of the hidden fields.
    pub(super) fn hidden_fields(&self) -> [(&'static str, String); 2] {
        let shown = serde_json::to_string(&self.shown).unwrap_or_default();
        [(REVISION, self.revision.to_string()), (SHOWN, shown)]
    }
}

/// Enters each value that the other person changed in the form, unless this person changed the same
/// value. Returns all changes of the other person. `latest` are the fields of the connection's
/// present state.
pub(super) fn merge<'f>(
    form: &mut Form,
    seen: &SeenState,
    latest: impl Iterator<Item = &'f Field>,
) -> Vec<OtherChange> {
    let latest: BTreeMap<_, _> = latest
        .filter_map(|it| Some((it.name.clone(), (it.label.clone(), it.control.text()?))))
        .collect();
    let names: BTreeSet<_> = seen.shown.keys().chain(latest.keys()).cloned().collect();
    let mut changes = Vec::new();
    for name in names {
        let before = seen.shown.get(&name).cloned().unwrap_or_default();
        let (label, after) = latest.get(&name).cloned().unwrap_or((name.clone(), String::new()));
        let entered = normalized(form.get(&name));
        if normalized(&before) == normalized(&after) || entered == normalized(&after) {
            continue;
        }
        let own_value = (entered != normalized(&before)).then_some(entered);
        if own_value.is_none() {
            form.set(&name, &after);
        }
        changes.push(OtherChange { name, label, before, after, own_value });
    }
    changes
}

/// The text without differences that browsers make: they send other line ends.
fn normalized(text: &str) -> String {
    text.replace("\r\n", "\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Field {
        Field::text(name, name.to_uppercase(), value)
    }

    #[test]
    fn other_changes_are_kept_unless_both_people_changed_the_same_value() {
        let shown = [field("a", "1"), field("b", "1"), field("c", "1\n2"), field("d", "1")];
        let seen = SeenState::new(7, shown.iter());
        let [(_, revision), (_, texts)] = seen.hidden_fields();
        let encoded: String = url::form_urlencoded::byte_serialize(texts.as_bytes()).collect();
        let body = format!("revision={revision}&shown={encoded}&a=1&b=own&c=1%0D%0A2&d=same");
        let mut form = Form::parse(body.as_bytes());
        let seen = SeenState::from_form(&form).unwrap();
        assert_eq!(seen.revision, 7);
        let latest = [field("a", "2"), field("b", "2"), field("c", "1\n2"), field("d", "same")];
        let changes = merge(&mut form, &seen, latest.iter());
        let change = |name: &str, own_value: Option<&str>| OtherChange {
            name: name.to_owned(),
            label: name.to_uppercase(),
            before: "1".to_owned(),
            after: "2".to_owned(),
            own_value: own_value.map(str::to_owned),
        };
        assert_eq!(changes, [change("a", None), change("b", Some("own"))]);
        assert_eq!([form.get("a"), form.get("b"), form.get("d")], ["2", "own", "same"]);
        assert!(SeenState::from_form(&Form::parse(b"revision=7")).is_none());
    }
}
