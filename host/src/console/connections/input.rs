//! Converts the form of a connection to a request of the admin API. The code of the admin API
//! handles this request.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::{
    CreateConnection, EditConnection, EditTestManager, EnumString, SecretText, WebhookPaths,
};
use crate::console::form::Form;
use crate::domain::{OnRecurrence, Settings, StringEnum as _};
use crate::manifest::SettingError;
use crate::secret::Secret;

use super::schema::{SECRET_PREFIX, ValueDeclaration, value_declarations};
use super::sender_fields;

pub(super) const TEMPLATE_MEMBERS: [&str; 3] =
    ["title_template", "description_template", "comment_template"];
/// The members of the report settings that a person enters as JSON.
pub(super) const JSON_MEMBERS: [&str; 3] = ["mask", "attachments", "routing"];
/// The maximum number of fields in the field map.
const FIELDS_MAX: usize = 100;

/// Converts a form for a new connection to the request that creates it.
///
/// # Errors
/// A field that must contain a number contains another text.
pub(super) fn read_new_connection(
    form: &Form,
    connector: &str,
    schema: &Value,
) -> Result<CreateConnection, Vec<SettingError>> {
    let all = value_declarations(schema);
    let index_delay_s = read_index_delay_s(form).map_err(|error| vec![error])?;
    let webhook_auth = sender_fields::read_webhook_auth(form).map_err(|error| vec![error])?;
    let settings = entered_settings(form, &all).filter(|(it, value)| !it.is_default(value));
    Ok(CreateConnection {
        name: form.get("name").trim().to_owned(),
        connector: connector.to_owned(),
        settings: settings.map(|(it, value)| (it.name.to_owned(), value)).collect(),
        secrets: read_secrets(form, &all),
        client_cert: read_secret(form, "client_cert"),
        client_key: read_secret(form, "client_key"),
        test_manager: read_test_manager(form),
        test_manager_client_secret: read_secret(form, "test_manager_client_secret"),
        webhook_auth,
        webhook_secret: read_secret(form, sender_fields::SECRET_FIELD),
        webhook_secret_previous: read_secret(form, sender_fields::PREVIOUS_SECRET_FIELD),
        project: non_empty_text(form, "project"),
        allow_private: form.is_checked("allow_private"),
        http1_only: form.is_checked("http1_only"),
        trace_context: form.is_checked("trace_context"),
        index_delay_s: index_delay_s.unwrap_or(0),
        report: Settings::new(),
        on_recurrence: read_on_recurrence(form),
        webhook_paths: WebhookPaths::default(),
    })
}

/// Converts a form to the request that edits a connection. The request omits settings and report
/// settings that did not change.
///
/// # Errors
/// A field that must contain a number or JSON contains another text.
pub(super) fn read_edit(
    form: &Form,
    schema: &Value,
    stored: &Settings,
    report: &Settings,
) -> Result<EditConnection, Vec<SettingError>> {
    let all = value_declarations(schema);
    let removed = all.iter().filter(|it| it.is_secret());
    let removed = removed.filter(|it| form.is_checked(&format!("remove.{}", it.name)));
    let mut changed_secrets: BTreeMap<_, _> =
        removed.map(|it| (it.name.to_owned(), None)).collect();
    changed_secrets
        .extend(read_secrets(form, &all).into_iter().map(|(name, value)| (name, Some(value))));
    let webhook_auth = sender_fields::read_webhook_auth(form).map_err(|error| vec![error])?;
    let removes_previous_secret = form.is_checked(sender_fields::REMOVE_PREVIOUS_SECRET_FIELD);
    Ok(EditConnection {
        name: Some(form.get("name").trim().to_owned()),
        settings: changed_settings(form, &all, stored),
        secrets: changed_secrets,
        client_cert: read_secret(form, "client_cert").map(Some),
        client_key: read_secret(form, "client_key").map(Some),
        test_manager: read_test_manager_change(form),
        test_manager_client_secret: read_secret(form, "test_manager_client_secret"),
        webhook_auth: webhook_auth.map(Some),
        webhook_secret: read_secret(form, sender_fields::SECRET_FIELD),
        webhook_secret_previous: read_secret(form, sender_fields::PREVIOUS_SECRET_FIELD)
            .map(Some)
            .or(removes_previous_secret.then_some(None)),
        project: Some(non_empty_text(form, "project")),
        allow_private: Some(form.is_checked("allow_private")),
        http1_only: Some(form.is_checked("http1_only")),
        trace_context: Some(form.is_checked("trace_context")),
        index_delay_s: read_index_delay_s(form).map_err(|error| vec![error])?,
        report: changed_report(read_report_settings(form)?, report),
        on_recurrence: read_on_recurrence(form),
        webhook_paths: None,
    })
}

/// Returns the settings that the form changes. `None` removes a setting.
pub(super) fn changed_settings(
    form: &Form,
    all: &[ValueDeclaration<'_>],
    stored: &Settings,
) -> BTreeMap<String, Option<Value>> {
    let settings = all.iter().filter(|it| !it.is_secret() && !it.is_fixed());
    let change = |it: &ValueDeclaration<'_>| match (it.entered_value(form), stored.get(it.name)) {
        (Some(value), None) if it.is_default(&value) => None,
        (Some(value), old) if old != Some(&value) => Some((it.name.to_owned(), Some(value))),
        (None, Some(_)) => Some((it.name.to_owned(), None)),
        _ => None,
    };
    settings.filter_map(change).collect()
}

/// Returns the settings for which [`ValueDeclaration::entered_value`] finds a value in the form.
pub(super) fn entered_settings<'f, 'm>(
    form: &'f Form,
    all: &'f [ValueDeclaration<'m>],
) -> impl Iterator<Item = (&'f ValueDeclaration<'m>, Value)> {
    let settings = all.iter().filter(|it| !it.is_secret() && !it.is_fixed());
    settings.filter_map(|it| Some((it, it.entered_value(form)?)))
}

/// Secrets whose fields are empty are left out.
pub(super) fn read_secrets(
    form: &Form,
    all: &[ValueDeclaration<'_>],
) -> BTreeMap<String, SecretText> {
    let secrets = all.iter().filter(|it| it.is_secret());
    secrets
        .filter_map(|it| {
            Some((it.name.to_owned(), read_secret(form, &format!("{SECRET_PREFIX}{}", it.name))?))
        })
        .collect()
}

fn read_secret(form: &Form, field: &str) -> Option<SecretText> {
    let text = form.find(field).filter(|text| !text.is_empty())?;
    Some(SecretText(Secret::new(text.to_owned())))
}

fn non_empty_text(form: &Form, field: &str) -> Option<String> {
    Some(form.get(field).trim().to_owned()).filter(|text| !text.is_empty())
}

fn read_index_delay_s(form: &Form) -> Result<Option<u32>, SettingError> {
    let text = form.get("index_delay_s").trim();
    let not_a_number = |_| SettingError {
        name: "index_delay_s".to_owned(),
        why: "enter a number of seconds, such as 60".to_owned(),
    };
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(not_a_number) }
}

fn read_on_recurrence(form: &Form) -> Option<EnumString<OnRecurrence>> {
    OnRecurrence::parse(form.get("on_recurrence")).map(EnumString)
}

/// `None` if the address, the token address and the client id are all empty.
fn read_test_manager(form: &Form) -> Option<EditTestManager> {
    let is_filled = |field| non_empty_text(form, field).is_some();
    let is_used = ["test_manager.base_url", "test_manager.token_url", "test_manager.client_id"]
        .into_iter()
        .any(is_filled);
    is_used.then(|| EditTestManager {
        base_url: non_empty_text(form, "test_manager.base_url"),
        token_url: non_empty_text(form, "test_manager.token_url"),
        client_id: non_empty_text(form, "test_manager.client_id"),
        scopes: read_words(form, "test_manager.scopes"),
        project_id: Some(non_empty_text(form, "test_manager.project_id")),
        asset_origins: Some(read_words(form, "test_manager.asset_origins").unwrap_or_default()),
    })
}

/// `None` if the form does not have the fields for Test Manager. `Some(None)` removes the settings.
fn read_test_manager_change(form: &Form) -> Option<Option<EditTestManager>> {
    form.find("test_manager.base_url")?;
    Some(read_test_manager(form))
}

/// Reads words that are separated by white space.
fn read_words(form: &Form, field: &str) -> Option<Vec<String>> {
    let words: Vec<_> = form.get(field).split_whitespace().map(str::to_owned).collect();
    (!words.is_empty()).then_some(words)
}

/// Reads the report settings.
///
/// # Errors
/// A field that must contain JSON contains another text.
pub(super) fn read_report_settings(form: &Form) -> Result<Settings, Vec<SettingError>> {
    let mut report = Settings::new();
    let mut errors = Vec::new();
    for member in TEMPLATE_MEMBERS {
        let text = form.get(&format!("report.{member}")).replace("\r\n", "\n");
        if !text.trim().is_empty() {
            report.insert(member.to_owned(), text.into());
        }
    }
    let fields = read_field_rows(form);
    if !fields.is_empty() {
        report.insert("fields".to_owned(), fields.into());
    }
    for member in JSON_MEMBERS {
        let name = format!("report.{member}");
        match form.get(&name).trim() {
            "" => {}
            text => match serde_json::from_str::<Value>(text) {
                Ok(value) => {
                    report.insert(member.to_owned(), value);
                }
                Err(error) => errors.push(SettingError { name, why: format!("not JSON: {error}") }),
            },
        }
    }
    if errors.is_empty() { Ok(report) } else { Err(errors) }
}

/// Skips rows without the name of a field of the tracker.
pub(super) fn read_field_rows(form: &Form) -> Vec<Value> {
    // Some rows may be empty. The check of the settings refuses too many fields.
    (0..2 * FIELDS_MAX).filter_map(|row| read_field_row(form, row)).collect()
}

fn read_field_row(form: &Form, row: usize) -> Option<Value> {
    let cell = |column: &str| form.get(&format!("field.{row}.{column}"));
    let name = cell("name").trim();
    let kind = if cell("kind") == "json" { "json" } else { "text" };
    let template = cell("template").replace("\r\n", "\n");
    (!name.is_empty()).then(|| json!({"field": name, kind: template}))
}

/// Returns the members of the report settings that differ from the stored members. `None` removes a
/// member.
pub(super) fn changed_report(
    entered: Settings,
    stored: &Settings,
) -> BTreeMap<String, Option<Value>> {
    let removed = stored.keys().filter(|name| !entered.contains_key(*name));
    let mut changed: BTreeMap<_, _> = removed.map(|name| (name.clone(), None)).collect();
    let differs = |(name, value): &(String, Value)| stored.get(name) != Some(value);
    changed
        .extend(Map::into_iter(entered).filter(differs).map(|(name, value)| (name, Some(value))));
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "properties": {
            "key": {"type": "string", "writeOnly": true},
            "markup": {"type": "string", "default": "plain"},
            "url": {"type": "string"},
        }})
    }

    fn form(body: &str) -> Form {
        Form::parse(body.as_bytes())
    }

    #[test]
    fn an_edit_contains_only_values_that_differ() {
        let stored = json!({"url": "https://a.example", "markup": "html"});
        let stored = stored.as_object().unwrap();
        let edited =
            |body: &str| read_edit(&form(body), &schema(), stored, &Settings::new()).unwrap();
        let unchanged = edited("name=qa&s.url=https://a.example&s.markup=html&x.key=");
        let lengths = (unchanged.settings.len(), unchanged.secrets.len(), unchanged.report.len());
        assert_eq!(lengths, (0, 0, 0));
        let changed = edited("name=qa&s.url=https://b.example&s.markup=&x.key=s3cret");
        assert_eq!(changed.settings["url"], Some(json!("https://b.example")));
        assert_eq!(changed.settings["markup"], None, "an empty field removes the setting");
        assert!(changed.secrets["key"].is_some());
        let removed = edited("name=qa&s.url=https://a.example&s.markup=html&remove.key=true");
        assert!(removed.secrets["key"].is_none());
    }

    #[test]
    fn a_new_connection_has_no_settings_that_are_defaults() {
        let new = |body: &str| read_new_connection(&form(body), "c", &schema());
        let created = new("name=+qa+&s.url=https://a.example&s.markup=plain").unwrap();
        assert_eq!((created.name.as_str(), created.settings.len()), ("qa", 1));
        assert!(created.test_manager.is_none() && created.secrets.is_empty());
        assert_eq!(new("name=qa&index_delay_s=soon").unwrap_err()[0].name, "index_delay_s");
    }

    #[test]
    fn report_settings_are_read_from_text_fields_and_json_fields() {
        let body = "report.title_template=T&field.0.name=severity&field.0.kind=json&\
                    field.0.template=%7B%7D&field.1.name=&report.mask=%7B%22a%22%3A1%7D";
        let report = read_report_settings(&form(body)).unwrap();
        assert_eq!(report["title_template"], "T");
        assert_eq!(report["fields"], json!([{"field": "severity", "json": "{}"}]));
        assert_eq!(report["mask"], json!({"a": 1}));
        let errors = read_report_settings(&form("report.routing=oops")).unwrap_err();
        assert_eq!(errors[0].name, "report.routing");
        let stored = json!({"title_template": "T", "mask": {}});
        let changed = changed_report(report, stored.as_object().unwrap());
        assert_eq!(changed.keys().collect::<Vec<_>>(), ["fields", "mask"]);
    }
}
