//! The page with the form that creates or edits a connection. The fields for settings and secrets
//! come from the connector's manifest. Each error is shown at its field.

use askama::Template;
use serde_json::Value;

use crate::api::{Connection, TestManager};
use crate::console::form::Form;
use crate::console::page::Page;
use crate::console::parts::{Control, Field, Listed};
use crate::domain::{OnRecurrence, StringEnum as _, shortened};
use crate::manifest::SettingError;

use super::edit_conflict::OtherChange;
use super::report::ReportForm;
use super::schema::{SECRET, SETTING, form_text, value_declarations};
use super::sender_fields;

/// The page with the form.
#[derive(Debug, Template)]
#[template(path = "console/connections/form.html")]
pub(super) struct FormPage {
    pub(super) page: Page,
    pub(super) action: String,
    /// The address and the text of the link that leaves the form.
    pub(super) back: (String, String),
    pub(super) summary: String,
    pub(super) button: &'static str,
    /// Errors that do not belong to a field.
    pub(super) errors: Vec<String>,
    pub(super) has_errors: bool,
    /// The changes of another person while the form was edited; `None` if nobody changed anything.
    pub(super) conflict: Option<Vec<OtherChange>>,
    /// Names and values of the hidden fields.
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
const CHANGE_BYTES_MAX: usize = 300;
const BOTH_CHANGED: &str =
    "Another person changed this value, too. The form shows your value and will save it.";

/// The source of the form's texts: the form that a person sent, otherwise the stored connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts<'a> {
    pub(super) form: Option<&'a Form>,
    pub(super) stored: Option<&'a Connection>,
}

impl<'a> Texts<'a> {
    /// The text of a field. `stored` reads it from the stored connection.
    pub(super) fn text(&self, field: &str, stored: impl FnOnce(&Connection) -> String) -> String {
        match self.form {
            Some(form) => form.get(field).to_owned(),
            None => self.stored.map(stored).unwrap_or_default(),
        }
    }

    fn is_checked(&self, field: &str, stored: impl FnOnce(&Connection) -> bool) -> bool {
        match self.form {
            Some(form) => form.is_checked(field),
            None => self.stored.is_some_and(stored),
        }
    }

    fn test_manager_field(&self, name: &str, stored: impl FnOnce(&TestManager) -> String) -> Field {
        let field = format!("test_manager.{name}");
        let read = |connection: &Connection| {
            connection.test_manager.as_ref().map(stored).unwrap_or_default()
        };
        let text = self.text(&field, read);
        Field::text(field, "", text)
    }
}

/// The fields for a connection whose connector has this settings schema. `search` is the address
/// that looks up values, up to the name of the setting.
pub(super) fn fields(schema: &Value, texts: Texts<'_>, search: &str) -> Fields {
    let all = value_declarations(schema);
    let mut settings = Vec::new();
    for value in all.iter().filter(|it| !it.is_fixed()) {
        let entered = texts.form.and_then(|form| form.find(&value.field_name())).map(str::to_owned);
        let stored = texts.stored.and_then(|it| it.settings.get(value.name)).map(form_text);
        let text = if texts.form.is_some() { entered.or(Some(String::new())) } else { stored };
        let is_set =
            texts.stored.is_some_and(|it| it.secrets_set.iter().any(|set| set == value.name));
        settings.push(value.field(text, is_set, search));
        if is_set && !value.is_required {
            let name = format!("remove.{}", value.name);
            let label = format!("Remove the stored {}", value.name);
            settings.push(Field::new(name, label, Control::Check { checked: false }));
        }
    }
    let name = Field::text("name", "Name", texts.text("name", |it| it.name.clone()));
    let name =
        name.help("Any name, for example that of the Test Manager project and of the tracker.");
    Fields {
        name: vec![name.required(true)],
        settings,
        network: network_fields(texts),
        senders: sender_fields::fields(texts),
        test_manager: test_manager_fields(texts),
    }
}

/// The fields below "More options".
fn network_fields(texts: Texts<'_>) -> Vec<Field> {
    let check = |field: &str, label: &str, stored: fn(&Connection) -> bool| {
        Field::new(field, label, Control::Check { checked: texts.is_checked(field, stored) })
    };
    let project = texts.text("project", |it| it.project.clone().unwrap_or_default());
    let delay = texts.text("index_delay_s", |it| it.index_delay_s.to_string());
    let secret = |is_set| Control::Secret { is_set };
    let recurrence = texts.text("on_recurrence", |it| it.on_recurrence.to_string());
    let reactions = [
        (OnRecurrence::New, "create a new defect"),
        (OnRecurrence::Comment, "comment on the open defect"),
        (OnRecurrence::Reopen, "comment, and open a closed defect again"),
    ];
    let options = reactions.map(|(it, text)| (it.as_str().to_owned(), text.to_owned())).to_vec();
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
            .help("Adds the header traceparent to each request, for trackers that record traces."),
        Field::text("project", "Only this Test Manager project", project)
            .help("Defect counts are answered only for this project id. Empty: for all projects."),
        Field::text("index_delay_s", "Index delay, seconds", delay).help(
            "How long the tracker's search may not find a new record. 0 means the time that the connector \
             declares.",
        ),
        Field::new("client_cert", "Client certificate", secret(has_certificate))
            .help("Only if the tracker requires one: PEM text, file:/path or env:NAME."),
        Field::new("client_key", "Key of the client certificate", secret(has_certificate)),
    ]
}

fn test_manager_fields(texts: Texts<'_>) -> Vec<Field> {
    let has_secret = texts.stored.is_some_and(|it| it.has_test_manager_client_secret);
    let field = |name: &str, label: &str, help: &str, stored: fn(&TestManager) -> String| {
        let field = texts.test_manager_field(name, stored);
        Field { label: label.to_owned(), help: help.to_owned(), ..field }
    };
    vec![
        field(
            "base_url",
            "Address",
            "The address that your browser shows, up to and including testmanager_.",
            |it| it.base_url.clone(),
        ),
        field(
            "token_url",
            "Token address",
            "For example https://…/identity_/connect/token.",
            |it| it.token_url.clone(),
        ),
        field("client_id", "Client id", "The id of the external application in UiPath.", |it| {
            it.client_id.clone()
        }),
        Field::new(
            "test_manager_client_secret",
            "Client secret",
            Control::Secret { is_set: has_secret },
        ),
        field(
            "scopes",
            "Scopes",
            "Separated by spaces. Leave it empty for the scopes that a report needs.",
            |it| it.scopes.join(" "),
        ),
        field(
            "project_id",
            "Project id",
            "Leave it empty to read the id from the link of each failed test.",
            |it| it.project_id.clone().unwrap_or_default(),
        ),
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

    /// Shows the changes of another person. If both people changed a value, its field shows that,
    /// too.
    pub(super) fn with_conflict(mut self, changes: Vec<OtherChange>) -> Self {
        let changed_by_both = changes.iter().filter(|it| it.own_value.is_some());
        let report = self.report.iter_mut().flat_map(ReportForm::fields_mut);
        let mut all: Vec<_> =
            self.fields.groups_mut().into_iter().flatten().chain(report).collect();
        for change in changed_by_both {
            if let Some(field) = all.iter_mut().find(|it| it.name == change.name) {
                field.error = Some(BOTH_CHANGED.to_owned());
            }
        }
        Self { conflict: Some(changes), ..self }
    }

    /// Shows the values that a connector listed for a setting.
    pub(super) fn with_listed(mut self, setting: &str, found: Listed) -> Self {
        if let Some(Control::Lookup { listed, .. }) = self.setting_mut(setting) {
            *listed = found;
        }
        self
    }

    /// The control that contains the value of a setting.
    pub(super) fn setting_mut(&mut self, setting: &str) -> Option<&mut Control> {
        let name = format!("{SETTING}{setting}");
        let field = self.fields.settings.iter_mut().find(|it| it.name == name);
        field.map(|it| &mut it.control)
    }

    /// Whether all groups of fields are expanded. They are after an error or an edit conflict, so
    /// that a field with an error message is visible.
    fn has_open_groups(&self) -> bool {
        self.has_errors || self.conflict.is_some()
    }

    /// Shows each error at its field. Errors without a field are shown at the top of the page.
    pub(super) fn with_errors(mut self, errors: Vec<SettingError>) -> Self {
        self.has_errors = !errors.is_empty();
        for SettingError { name, why } in errors {
            let report = self.report.iter_mut().flat_map(ReportForm::fields_mut);
            let mut all = self.fields.groups_mut().into_iter().flatten().chain(report);
            match all.find(|field| is_error_of(&name, &field.name)) {
                Some(field) => field.error = Some(why),
                None => self.errors.push(format!("{name}: {why}")),
            }
        }
        self
    }
}

/// The text of a value in the table of changes.
fn change_text(text: &str) -> String {
    if text.is_empty() { "empty".to_owned() } else { shortened(text, CHANGE_BYTES_MAX) }
}

/// Whether the error with the name `error` belongs to the field `field`, or to an element of its
/// list.
fn is_error_of(error: &str, field: &str) -> bool {
    let name = field.strip_prefix(SETTING).or_else(|| field.strip_prefix(SECRET)).unwrap_or(field);
    name == error || error.strip_prefix(name).is_some_and(|rest| rest.starts_with('['))
}
