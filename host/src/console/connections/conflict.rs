//! Two people edit a connection at the same time. A form also sends what it showed when it was
//! loaded, so that the changes of the other person are seen, and kept where this person changed
//! nothing.
//!
//! Secrets are not compared: a form never shows them.

use std::collections::{BTreeMap, BTreeSet};

use crate::console::form::Form;
use crate::console::parts::Field;

/// The hidden fields of the form: the revision that it was made of, and what it showed.
pub(super) const REVISION: &str = "revision";
const SHOWN: &str = "shown";

/// The texts of a form, by the names of its fields.
type Texts = BTreeMap<String, String>;

/// The state of a connection that a person saw when they began to edit it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) revision: u64,
    shown: Texts,
}

/// A value that another person changed meanwhile.
#[derive(Debug, PartialEq)]
pub(super) struct OtherChange {
    /// The name of its field.
    pub(super) name: String,
    pub(super) label: String,
    pub(super) before: String,
    pub(super) after: String,
    /// What this person entered, if both changed the value.
    pub(super) own: Option<String>,
}

impl Seen {
    /// What a form shows that is made of this revision.
    pub(super) fn of<'f>(revision: u64, fields: impl Iterator<Item = &'f Field>) -> Self {
        let texts = fields.filter_map(|it| Some((it.name.clone(), it.control.text()?)));
        Self { revision, shown: texts.collect() }
    }

    /// What the form says that it showed; `None` if it was not made by the console.
    pub(super) fn read(form: &Form) -> Option<Self> {
        let revision = form.get(REVISION).parse().ok()?;
        let shown = serde_json::from_str(form.get(SHOWN)).ok()?;
        Some(Self { revision, shown })
    }

    /// The names and values of the hidden fields.
    pub(super) fn hidden(&self) -> [(&'static str, String); 2] {
        let shown = serde_json::to_string(&self.shown).unwrap_or_default();
        [(REVISION, self.revision.to_string()), (SHOWN, shown)]
    }
}

/// Takes the changes of the other person over into the form, where this person changed nothing
/// else. `latest` are the fields as the connection is now.
pub(super) fn merge<'f>(
    form: &mut Form,
    seen: &Seen,
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
        let entered = normal(form.get(&name));
        if normal(&before) == normal(&after) || entered == normal(&after) {
            continue;
        }
        let own = (entered != normal(&before)).then_some(entered);
        if own.is_none() {
            form.set(&name, &after);
        }
        changes.push(OtherChange { name, label, before, after, own });
    }
    changes
}

/// A text as browsers do not change it: they send other line ends.
fn normal(text: &str) -> String {
    text.replace("\r\n", "\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Field {
        Field::text(name, name.to_uppercase(), value)
    }

    #[test]
    fn changes_of_the_other_person_are_kept_unless_both_changed_the_same_value() {
        let shown = [field("a", "1"), field("b", "1"), field("c", "1\n2"), field("d", "1")];
        let seen = Seen::of(7, shown.iter());
        let [(_, revision), (_, texts)] = seen.hidden();
        let encoded: String = url::form_urlencoded::byte_serialize(texts.as_bytes()).collect();
        let body = format!("revision={revision}&shown={encoded}&a=1&b=own&c=1%0D%0A2&d=same");
        let mut form = Form::parse(body.as_bytes());
        let seen = Seen::read(&form).unwrap();
        assert_eq!(seen.revision, 7);
        let latest = [field("a", "2"), field("b", "2"), field("c", "1\n2"), field("d", "same")];
        let changes = merge(&mut form, &seen, latest.iter());
        let texts = |name: &str, own: Option<&str>| OtherChange {
            name: name.to_owned(),
            label: name.to_uppercase(),
            before: "1".to_owned(),
            after: "2".to_owned(),
            own: own.map(str::to_owned),
        };
        assert_eq!(changes, [texts("a", None), texts("b", Some("own"))]);
        assert_eq!([form.get("a"), form.get("b"), form.get("d")], ["2", "own", "same"]);
        assert!(Seen::read(&Form::parse(b"revision=7")).is_none());
    }
}
