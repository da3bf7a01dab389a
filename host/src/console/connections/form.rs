//! The page with the form that creates or edits a connection. An error is shown at its field, or at
//! the top of the page if it belongs to no field.

use askama::Template;
use serde_json::Value;

use crate::api::{Connection, TestManager};
use crate::console::form::Form;
use crate::console::page::Layout;
use crate::console::parts::{Control, Field, FoundValues};
use crate::domain::{OnRecurrence, StringEnum as _, shortened};
use crate::manifest::SettingError;

use super::edit_conflict::OtherChange;
use super::report::ReportForm;
use super::schema::{SECRET_PREFIX, SETTING_PREFIX, form_text, value_declarations};
use super::sender_fields;

#[derive(Debug, Template)]
#[template(path = "console/connections/form.html")]
pub(super) struct FormPage {
    pub(super) layout: Layout,
    pub(super) submit_href: String,
    /// The address and the text of the link that leaves the form.
    pub(super) back_link: (String, String),
    pub(super) summary: String,
    pub(super) button_label: &'static str,
    /// Errors that do not belong to a field.
    pub(super) errors: Vec<String>,
    pub(super) has_errors: bool,
    /// The changes that another person made while this person edited the form.
    pub(super) conflict: Option<Vec<OtherChange>>,
    pub(super) hidden_fields: Vec<(&'static str, String)>,
    pub(super) fields: FormFields,
    /// `None` in the form for a new connection.
    pub(super) report_form: Option<ReportForm>,
}

#[derive(Debug, Default)]
pub(super) struct FormFields {
    pub(super) name: Vec<Field>,
    pub(super) settings: Vec<Field>,
    /// The fields below "More options".
    pub(super) more_options: Vec<Field>,
    pub(super) senders: Vec<Field>,
    pub(super) test_manager: Vec<Field>,
}

/// Maximum length of a value in the table of the other person's changes, bytes.
const CHANGE_BYTES_MAX: usize = 300;
const BOTH_CHANGED_TEXT: &str =
    "Another person changed this value, too. The form shows your value and will save it.";

/// The source of the texts in the fields: the form that a person sent, or else the stored
/// connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextSource<'a> {
    pub(super) sent_form: Option<&'a Form>,
    pub(super) stored_connection: Option<&'a Connection>,
}

impl<'a> TextSource<'a> {
    /// `stored` reads the text from the stored connection.
    pub(super) fn text(&self, field: &str, stored: impl FnOnce(&Connection) -> String) -> String {
        match self.sent_form {
            Some(form) => form.get(field).to_owned(),
            None => self.stored_connection.map(stored).unwrap_or_default(),
        }
    }

    fn is_checked(&self, field: &str, stored: impl FnOnce(&Connection) -> bool) -> bool {
        match self.sent_form {
            Some(form) => form.is_checked(field),
            None => self.stored_connection.is_some_and(stored),
        }
    }

    /// The caller adds the label.
    fn test_manager_field(&self, name: &str, stored: impl FnOnce(&TestManager) -> String) -> Field {
        let field = format!("test_manager.{name}");
        let read = |connection: &Connection| {
            connection.test_manager.as_ref().map(stored).unwrap_or_default()
        };
        let text = self.text(&field, read);
        Field::text(field, "", text)
    }
}

/// Makes the fields for a connection. To look up values of the setting NAME, the browser sends a
/// request to `search_href`, followed by `setting=NAME`.
pub(super) fn form_fields(schema: &Value, texts: TextSource<'_>, search_href: &str) -> FormFields {
    let all = value_declarations(schema);
    let mut settings = Vec::new();
    for value in all.iter().filter(|it| !it.is_fixed()) {
        let entered =
            texts.sent_form.and_then(|form| form.find(&value.field_name())).map(str::to_owned);
        let stored =
            texts.stored_connection.and_then(|it| it.settings.get(value.name)).map(form_text);
        let text = if texts.sent_form.is_some() { entered.or(Some(String::new())) } else { stored };
        let is_set = texts
            .stored_connection
            .is_some_and(|it| it.secrets_set.iter().any(|set| set == value.name));
        settings.push(value.field(text, is_set, search_href));
        if is_set && !value.is_required {
            let name = format!("remove.{}", value.name);
            let label = format!("Remove the stored {}", value.name);
            settings.push(Field::new(name, label, Control::Check { checked: false }));
        }
    }
    let name = Field::text("name", "Name", texts.text("name", |it| it.name.clone()));
    let name =
        name.help("Any name, such as the names of the Test Manager project and of the tracker.");
    FormFields {
        name: vec![name.required(true)],
        settings,
        more_options: more_options_fields(texts),
        senders: sender_fields::all_sender_fields(texts),
        test_manager: test_manager_fields(texts),
    }
}

fn more_options_fields(texts: TextSource<'_>) -> Vec<Field> {
    let check = |field: &str, label: &str, stored: fn(&Connection) -> bool| {
        Field::new(field, label, Control::Check { checked: texts.is_checked(field, stored) })
    };
    let project = texts.text("project", |it| it.project.clone().unwrap_or_default());
    let delay = texts.text("index_delay_s", |it| it.index_delay_s.to_string());
    let secret = |is_set| Control::Secret { is_set };
    let recurrence = texts.text("on_recurrence", |it| it.on_recurrence.to_string());
    let reactions = [
        (OnRecurrence::New, "create another defect"),
        (OnRecurrence::Comment, "comment on the defect, or create another one if it is closed"),
        (OnRecurrence::Reopen, "comment on the defect, and open it again first if it is closed"),
    ];
    let options = reactions.map(|(it, text)| (it.as_str().to_owned(), text.to_owned())).to_vec();
    let has_certificate = texts.stored_connection.is_some_and(|it| it.has_client_cert);
    vec![
        Field::new(
            "on_recurrence",
            "When a test case with a defect fails again",
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
            "How long the tracker's search may not find a new record yet. 0 means the time that the \
             connector declares.",
        ),
        Field::new("client_cert", "Client certificate", secret(has_certificate))
            .help("Only if the tracker requires one: PEM text, file:/path or env:NAME."),
        Field::new("client_key", "Key of the client certificate", secret(has_certificate)),
    ]
}

fn test_manager_fields(texts: TextSource<'_>) -> Vec<Field> {
    let has_secret = texts.stored_connection.is_some_and(|it| it.has_test_manager_client_secret);
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

impl FormFields {
    fn groups_mut(&mut self) -> [&mut Vec<Field>; 5] {
        let Self { name, settings, more_options, senders, test_manager } = self;
        [settings, name, more_options, senders, test_manager]
    }
}

impl FormPage {
    pub(super) fn all_fields(&self) -> impl Iterator<Item = &Field> {
        let FormFields { name, settings, more_options, senders, test_manager } = &self.fields;
        let groups = [name, settings, more_options, senders, test_manager];
        groups.into_iter().flatten().chain(self.report_form.iter().flat_map(ReportForm::fields))
    }

    /// A field has an error text if both people changed its value.
    pub(super) fn with_conflict(mut self, changes: Vec<OtherChange>) -> Self {
        let changed_by_both = changes.iter().filter(|it| it.own_value.is_some());
        let report_fields = self.report_form.iter_mut().flat_map(ReportForm::fields_mut);
        let mut all: Vec<_> =
            self.fields.groups_mut().into_iter().flatten().chain(report_fields).collect();
        for change in changed_by_both {
            if let Some(field) = all.iter_mut().find(|it| it.name == change.name) {
                field.error = Some(BOTH_CHANGED_TEXT.to_owned());
            }
        }
        Self { conflict: Some(changes), ..self }
    }

    /// Shows the values that a connector found for a setting.
    pub(super) fn with_found_values(mut self, setting: &str, values: FoundValues) -> Self {
        if let Some(Control::Lookup { found, .. }) = self.setting_control_mut(setting) {
            *found = values;
        }
        self
    }

    pub(super) fn setting_control_mut(&mut self, setting: &str) -> Option<&mut Control> {
        let name = format!("{SETTING_PREFIX}{setting}");
        let field = self.fields.settings.iter_mut().find(|it| it.name == name);
        field.map(|it| &mut it.control)
    }

    /// Whether all groups of fields are expanded, so that a field with an error text is visible.
    fn has_open_groups(&self) -> bool {
        self.has_errors || self.conflict.is_some()
    }

    pub(super) fn with_errors(mut self, errors: Vec<SettingError>) -> Self {
        self.has_errors = !errors.is_empty();
        for SettingError { name, why } in errors {
            let report_fields = self.report_form.iter_mut().flat_map(ReportForm::fields_mut);
            let mut all = self.fields.groups_mut().into_iter().flatten().chain(report_fields);
            match all.find(|field| is_error_of_field(&name, &field.name)) {
                Some(field) => field.error = Some(why),
                None => self.errors.push(format!("{name}: {why}")),
            }
        }
        self
    }
}

fn change_text(text: &str) -> String {
    if text.is_empty() { "empty".to_owned() } else { shortened(text, CHANGE_BYTES_MAX) }
}

/// An error of an item belongs to the field that contains the list.
fn is_error_of_field(error: &str, field: &str) -> bool {
    let name = field
        .strip_prefix(SETTING_PREFIX)
        .or_else(|| field.strip_prefix(SECRET_PREFIX))
        .unwrap_or(field);
    name == error || error.strip_prefix(name).is_some_and(|rest| rest.starts_with('['))
}
