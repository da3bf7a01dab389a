//! The page with the form of a connection, to create or to edit one. Its fields come from the
//! manifest; each error is at its field.

use askama::Template;
use serde_json::Value;

use crate::api::{Connection, TestManager};
use crate::console::form::Form;
use crate::console::page::Page;
use crate::console::parts::{Control, Field, Listed};
use crate::domain::{OnRecurrence, StringEnum as _, shortened};
use crate::manifest::SettingError;

use super::conflict::OtherChange;
use super::report::ReportForm;
use super::schema::{SECRET, SETTING, declared, shown};
use super::senders;

/// The page with the form.
#[derive(Debug, Template)]
#[template(path = "console/connections/form.html")]
pub(super) struct FormPage {
    pub(super) page: Page,
    pub(super) action: String,
    pub(super) back: (String, String),
    pub(super) summary: String,
    pub(super) button: &'static str,
    /// Errors that belong to no field.
    pub(super) errors: Vec<String>,
    pub(super) has_errors: bool,
    /// What another person changed meanwhile, if somebody did.
    pub(super) conflict: Option<Vec<OtherChange>>,
    /// Names and values of fields that are not shown.
    pub(super) hidden: Vec<(&'static str, String)>,
    pub(super) fields: Fields,
    pub(super) report: Option<ReportForm>,
}

/// The fields of the form, in groups.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) name: Vec<Field>,
    pub(super) settings: Vec<Field>,
    pub(super) network: Vec<Field>,
    pub(super) senders: Vec<Field>,
    pub(super) test_manager: Vec<Field>,
}

/// Maximum length of a value in the table of changes, bytes.
const TEXT_BYTES_MAX: usize = 300;
const BOTH_CHANGED: &str =
    "Another person changed this too. Your value is shown; it is what will be saved.";

/// Where the form's texts come from: what was just entered, else what is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts<'a> {
    pub(super) form: Option<&'a Form>,
    pub(super) stored: Option<&'a Connection>,
}

impl<'a> Texts<'a> {
    pub(super) fn text(&self, field: &str, stored: impl FnOnce(&Connection) -> String) -> String {
        match self.form {
            Some(form) => form.get(field).to_owned(),
            None => self.stored.map(stored).unwrap_or_default(),
        }
    }

    fn checked(&self, field: &str, stored: impl FnOnce(&Connection) -> bool) -> bool {
        match self.form {
            Some(form) => form.is_checked(field),
            None => self.stored.is_some_and(stored),
        }
    }

    fn test_manager_field(&self, name: &str, stored: impl FnOnce(&TestManager) -> String) -> Field {
        let field = format!("test_manager.{name}");
        let of = |it: &Connection| it.test_manager.as_ref().map(stored).unwrap_or_default();
        let text = self.text(&field, of);
        Field::text(field, "", text)
    }
}

/// The fields for a connection of a connector with this schema. `search` is the address where the
/// connector lists values, up to the name of the setting.
pub(super) fn fields(schema: &Value, texts: Texts<'_>, search: &str) -> Fields {
    let all = declared(schema);
    let mut settings = Vec::new();
    for it in all.iter().filter(|it| !it.is_fixed()) {
        let entered = texts.form.and_then(|form| form.find(&it.field_name())).map(str::to_owned);
        let of_stored = texts.stored.and_then(|stored| stored.settings.get(it.name)).map(shown);
        let text = if texts.form.is_some() { entered.or(Some(String::new())) } else { of_stored };
        let is_set = texts.stored.is_some_and(|it_| it_.secrets_set.iter().any(|n| n == it.name));
        settings.push(it.field(text, is_set, search));
        if is_set && !it.is_required {
            let (name, label) =
                (format!("remove.{}", it.name), format!("Remove the stored {}", it.name));
            settings.push(Field::new(name, label, Control::Check { checked: false }));
        }
    }
    let name = Field::text("name", "Name", texts.text("name", |it| it.name.clone()));
    let name = name.help("How you call it, for example the Test Manager project and the tracker.");
    Fields {
        name: vec![name.required(true)],
        settings,
        network: network(texts),
        senders: senders::fields(texts),
        test_manager: test_manager(texts),
    }
}

fn network(texts: Texts<'_>) -> Vec<Field> {
    let check = |field: &str, label: &str, stored: fn(&Connection) -> bool| {
        Field::new(field, label, Control::Check { checked: texts.checked(field, stored) })
    };
    let project = texts.text("project", |it| it.project.clone().unwrap_or_default());
    let delay = texts.text("index_delay_s", |it| it.index_delay_s.to_string());
    let secret = |is_set| Control::Secret { is_set };
    let recurrence = texts.text("on_recurrence", |it| it.on_recurrence.to_string());
    let words = [
        (OnRecurrence::New, "create a new defect"),
        (OnRecurrence::Comment, "comment on the open defect"),
        (OnRecurrence::Reopen, "comment, and open a closed defect again"),
    ];
    let options = words.map(|(it, text)| (it.as_str().to_owned(), text.to_owned())).to_vec();
    let has_certificate = texts.stored.is_some_and(|it| it.has_client_cert);
    vec![
        Field::new(
            "on_recurrence",
            "When a test case fails again while its defect is open",
            Control::Select { value: recurrence, options },
        ),
        check("allow_private", "The tracker has a private address", |it| it.allow_private)
            .help("Allows host names that resolve to private networks such as 10.0.0.0/8."),
        check("http1_only", "Use only HTTP/1.1 with the tracker", |it| it.http1_only),
        check("trace_context", "Pass traces on to the tracker", |it| it.trace_context)
            .help("Each request has the header traceparent, for trackers that record traces."),
        Field::text("project", "Only this Test Manager project", project)
            .help("The id of the project whose defect counts are answered. Empty: every project."),
        Field::text("index_delay_s", "Index delay, seconds", delay).help(
            "How long the tracker's search may not find a new record. 0: what the connector says.",
        ),
        Field::new("client_cert", "Client certificate", secret(has_certificate))
            .help("PEM, file:/path or env:NAME, if the tracker asks for one."),
        Field::new("client_key", "Key of the client certificate", secret(has_certificate)),
    ]
}

fn test_manager(texts: Texts<'_>) -> Vec<Field> {
    let has_secret = texts.stored.is_some_and(|it| it.has_test_manager_client_secret);
    let field = |name: &str, label: &str, help: &str, stored: fn(&TestManager) -> String| {
        let field = texts.test_manager_field(name, stored);
        Field { label: label.to_owned(), help: help.to_owned(), ..field }
    };
    vec![
        field("base_url", "Address", "As in your browser, up to and with testmanager_.", |it| {
            it.base_url.clone()
        }),
        field(
            "token_url",
            "Token address",
            "For example https://…/identity_/connect/token.",
            |it| it.token_url.clone(),
        ),
        field("client_id", "Client id", "Of the external application in UiPath.", |it| {
            it.client_id.clone()
        }),
        Field::new(
            "test_manager_client_secret",
            "Client secret",
            Control::Secret { is_set: has_secret },
        ),
        field("scopes", "Scopes", "Separated by spaces. Empty: what a report needs.", |it| {
            it.scopes.join(" ")
        }),
        field("project_id", "Project id", "Empty: from the link of each failed test.", |it| {
            it.project_id.clone().unwrap_or_default()
        }),
        field(
            "asset_origins",
            "Other origins of downloads",
            "Origins to which Test Manager redirects downloads, separated by spaces.",
            |it| it.asset_origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        ),
    ]
}

impl Fields {
    fn groups_mut(&mut self) -> [&mut Vec<Field>; 5] {
        let Self { name, settings, network, senders, test_manager } = self;
        [settings, name, network, senders, test_manager]
    }
}

impl FormPage {
    pub(super) fn all_fields(&self) -> impl Iterator<Item = &Field> {
        let Fields { name, settings, network, senders, test_manager } = &self.fields;
        let groups = [name, settings, network, senders, test_manager];
        groups.into_iter().flatten().chain(self.report.iter().flat_map(ReportForm::fields))
    }

    /// Shows what another person changed, at its field too if both changed it.
    pub(super) fn with_conflict(mut self, changes: Vec<OtherChange>) -> Self {
        let both = changes.iter().filter(|it| it.own.is_some());
        let report = self.report.iter_mut().flat_map(ReportForm::fields_mut);
        let mut all: Vec<_> =
            self.fields.groups_mut().into_iter().flatten().chain(report).collect();
        for change in both {
            if let Some(field) = all.iter_mut().find(|it| it.name == change.name) {
                field.error = Some(BOTH_CHANGED.to_owned());
            }
        }
        Self { conflict: Some(changes), ..self }
    }

    /// Shows the values that a connector listed for a setting.
    pub(super) fn with_listed(mut self, setting: &str, shown: Listed) -> Self {
        if let Some(Control::Lookup { listed, .. }) = self.setting_mut(setting) {
            *listed = shown;
        }
        self
    }

    /// How the value of a setting is entered.
    pub(super) fn setting_mut(&mut self, setting: &str) -> Option<&mut Control> {
        let name = format!("{SETTING}{setting}");
        let field = self.fields.settings.iter_mut().find(|it| it.name == name);
        field.map(|it| &mut it.control)
    }

    /// Whether all groups of fields are open, because something in them may be marked.
    fn is_open(&self) -> bool {
        self.has_errors || self.conflict.is_some()
    }

    /// Shows each error at its field; the others at the top.
    pub(super) fn with_errors(mut self, errors: Vec<SettingError>) -> Self {
        self.has_errors = !errors.is_empty();
        for SettingError { name, why } in errors {
            let report = self.report.iter_mut().flat_map(ReportForm::fields_mut);
            let mut all = self.fields.groups_mut().into_iter().flatten().chain(report);
            match all.find(|field| is_named_by(&name, &field.name)) {
                Some(field) => field.error = Some(why),
                None => self.errors.push(format!("{name}: {why}")),
            }
        }
        self
    }
}

/// A value in the table of changes.
fn shown_text(text: &str) -> String {
    if text.is_empty() { "empty".to_owned() } else { shortened(text, TEXT_BYTES_MAX) }
}

/// Whether an error names a field, or an element of its list.
fn is_named_by(error: &str, field: &str) -> bool {
    let own = field.strip_prefix(SETTING).or_else(|| field.strip_prefix(SECRET)).unwrap_or(field);
    own == error || error.strip_prefix(own).is_some_and(|rest| rest.starts_with('['))
}
