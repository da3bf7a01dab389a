//! Looks up the values that the tracker has for a setting. With JavaScript, the found values appear
//! below the field of the setting. Without JavaScript, the answer is the whole form with the found
//! values.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use crate::connections::{ConnectionError, UnstoredConnection};
use crate::console::form::Form;
use crate::console::frame::{Visitor, is_partial_request};
use crate::console::page::{render, render_invalid};
use crate::console::parts::FoundValues;
use crate::domain::{CLIENT_CERT, CLIENT_KEY, ChoicesPage, ConnectorName, Refusal, Settings};
use crate::http::AppState;
use crate::http::admin::Id;
use crate::http::admin::connections::host_secrets;
use crate::http::audit::{self, Caller};
use crate::http::problem::Problem;
use crate::manifest::SettingError;

use super::form::{FormPage, TextSource};
use super::schema::SETTING_PREFIX;
use super::{create, edit, find_connection, input};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;
type LookupResult = Result<Result<ChoicesPage, Refusal>, ConnectionError>;

/// The name of the button that enters a found value in the form, if the browser has no JavaScript.
const CHOOSE_BUTTON: &str = "take";

#[derive(Debug, Deserialize)]
pub(in crate::console) struct LookupQuery {
    setting: String,
    /// Empty for a stored connection.
    #[serde(default)]
    connector: String,
}

fn search_field_name(setting: &str) -> String {
    format!("q.{SETTING_PREFIX}{setting}")
}

/// Looks up values with the stored settings and secrets of a connection, or enters a found value in
/// the form.
pub(in crate::console) async fn look_up_for_stored_connection(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    Query(LookupQuery { setting, .. }): Query<LookupQuery>,
    headers: HeaderMap,
    form: Form,
) -> Answer {
    let record = find_connection(&app, &visitor, &id)?;
    let page = |form: &Form| edit::form_page(&app, &visitor, &record, Some(form));
    if let Some(page) = page_with_found_value(&form, &setting, page)? {
        return render(&page);
    }
    let search = form.get(&search_field_name(&setting)).trim().to_owned();
    let found = app.services.connections.choices(record.connection.id, &setting, &search).await;
    let search_href = format!("/connections/{}/choices?setting={setting}", record.connection.id);
    let lookup = Lookup { setting, search_text: search, search_href };
    lookup.answer(found, is_partial_request(&headers), || page(&form))
}

/// Looks up values with the settings and secrets that the form contains, or enters a found value in
/// the form.
pub(in crate::console) async fn look_up_for_new_connection(
    State(app): App,
    visitor: Visitor,
    Extension(caller): Extension<Caller>,
    Query(LookupQuery { setting, connector }): Query<LookupQuery>,
    headers: HeaderMap,
    form: Form,
) -> Answer {
    let page = |form: &Form| {
        let texts = TextSource { sent_form: Some(form), stored_connection: None };
        create::form_page(&app, &visitor, &connector, texts)
    };
    if let Some(page) = page_with_found_value(&form, &setting, page)? {
        return render(&page);
    }
    let search = form.get(&search_field_name(&setting)).trim().to_owned();
    let look_up = async {
        let found = look_up_unstored(&app, &connector, &setting, &search, &form).await;
        let search_href =
            format!("/connections/new/choices?connector={connector}&setting={setting}");
        let lookup = Lookup { setting, search_text: search, search_href };
        lookup.answer(found, is_partial_request(&headers), || page(&form))
    };
    let audit_entry = ("connector.look-up", Some(connector.as_str()));
    audit::run_and_record(&app, &visitor.account, &caller, audit_entry, look_up).await
}

async fn look_up_unstored(
    app: &AppState,
    connector: &str,
    setting: &str,
    search: &str,
    form: &Form,
) -> LookupResult {
    let manifest = create::newest_manifest(app, connector);
    let name = connector.parse::<ConnectorName>();
    let (Ok(manifest), Ok(name)) = (manifest, name) else {
        let why = "this is not the name of a connector that can be used".to_owned();
        let error = SettingError { name: "connector".to_owned(), why };
        return Err(ConnectionError::Invalid(vec![error]));
    };
    let mut new = input::read_new_connection(form, connector, &manifest.settings_schema)
        .map_err(ConnectionError::Invalid)?;
    // The person still searches for this value, so the connector must not get the present text.
    new.settings.remove(setting);
    let host_secrets = host_secrets([(CLIENT_CERT, new.client_cert), (CLIENT_KEY, new.client_key)]);
    let secrets = new.secrets.into_iter().chain(host_secrets);
    let values = UnstoredConnection {
        settings: new.settings,
        secrets: secrets.map(|(name, secret)| (name, secret.0)).collect(),
        allow_private: new.allow_private,
        http1_only: new.http1_only,
        report: Settings::new(),
        may_be_incomplete: true,
    };
    app.services.connections.choices_of_new(&name, values, setting, search).await
}

/// Enters the found value that a person chose. Returns `None` if the person searches instead.
fn page_with_found_value(
    form: &Form,
    setting: &str,
    page: impl FnOnce(&Form) -> Result<FormPage, Problem>,
) -> Result<Option<FormPage>, Problem> {
    let Some(value) = form.find(CHOOSE_BUTTON) else { return Ok(None) };
    let mut page = page(form)?;
    let control = page.setting_control_mut(setting).ok_or_else(|| Problem::not_found("setting"))?;
    control.enter_found_value(value);
    Ok(Some(page))
}

struct Lookup {
    setting: String,
    search_text: String,
    search_href: String,
}

impl Lookup {
    /// If htmx requests only a part of the page, the answer contains only the found values or the
    /// problem. Otherwise the answer is the whole form.
    fn answer(
        self,
        found: LookupResult,
        is_partial: bool,
        page: impl FnOnce() -> Result<FormPage, Problem>,
    ) -> Answer {
        let Self { setting, search_text, search_href } = self;
        let errors = match found {
            Ok(Ok(ChoicesPage { choices, has_more })) => {
                let values = choices.into_iter().map(|it| (it.value, it.label)).collect();
                let values = Some(values);
                let found = FoundValues { search_href, search_text, values, has_more };
                return if is_partial {
                    render(&found)
                } else {
                    render(&page()?.with_found_values(&setting, found))
                };
            }
            Ok(Err(refusal)) if is_partial => return Err((&refusal).into()),
            Err(error) if is_partial => return Err(error.into()),
            Ok(Err(refusal)) => vec![SettingError { name: setting, why: refusal.to_string() }],
            Err(ConnectionError::Invalid(errors)) => errors,
            Err(error) => vec![SettingError { name: setting, why: error.to_string() }],
        };
        render_invalid(&page()?.with_errors(errors))
    }
}
