//! `/connections/{id}/choices` and `/connections/new/choices`: the values that the tracker has for
//! a setting. With scripts, they appear below the field; without, the whole form comes again with
//! them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use crate::connections::{ConnectionError, Unstored};
use crate::console::form::Form;
use crate::console::frame::{Visitor, is_part};
use crate::console::page::{render, render_again};
use crate::console::parts::Listed;
use crate::domain::{CLIENT_CERT, CLIENT_KEY, ChoicesPage, ConnectorName, Refusal, Settings};
use crate::http::AppState;
use crate::http::admin::Id;
use crate::http::admin::connections::host_secrets;
use crate::http::audit::{self, Caller};
use crate::http::problem::Problem;
use crate::manifest::SettingError;

use super::form::{FormPage, Texts};
use super::schema::SETTING;
use super::{create, edit, found, input};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;
type Found = Result<Result<ChoicesPage, Refusal>, ConnectionError>;

/// The field of a value that a person took from the list, without scripts.
const TAKE: &str = "take";

/// The setting that is looked up, and for a new connection its connector.
#[derive(Debug, Deserialize)]
pub(in crate::console) struct Asked {
    setting: String,
    #[serde(default)]
    connector: String,
}

/// What a person searches for in the field of a setting.
fn search_field(setting: &str) -> String {
    format!("q.{SETTING}{setting}")
}

/// Looks up values with the stored settings and secrets of a connection.
pub(in crate::console) async fn of_stored(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    Query(Asked { setting, .. }): Query<Asked>,
    headers: HeaderMap,
    form: Form,
) -> Answer {
    let record = found(&app, &visitor, &id)?;
    let page = |form: &Form| edit::form_page(&app, &visitor, &record, Some(form));
    if let Some(taken) = taken(&form, &setting, page)? {
        return render(&taken);
    }
    let search = form.get(&search_field(&setting)).trim().to_owned();
    let listed = app.services.connections.choices(record.connection.id, &setting, &search).await;
    let address = format!("/connections/{}/choices?setting={setting}", record.connection.id);
    let looked_up = LookedUp { setting, search, address };
    looked_up.answer(listed, is_part(&headers), || page(&form))
}

/// Looks up values with what a person has entered so far for a new connection.
pub(in crate::console) async fn of_new(
    State(app): App,
    visitor: Visitor,
    Extension(caller): Extension<Caller>,
    Query(Asked { setting, connector }): Query<Asked>,
    headers: HeaderMap,
    form: Form,
) -> Answer {
    let page = |form: &Form| {
        let texts = Texts { form: Some(form), stored: None };
        create::form_page(&app, &visitor, &connector, texts)
    };
    if let Some(taken) = taken(&form, &setting, page)? {
        return render(&taken);
    }
    let search = form.get(&search_field(&setting)).trim().to_owned();
    let look_up = async {
        let listed = look_up_new(&app, &connector, &setting, &search, &form).await;
        let address = format!("/connections/new/choices?connector={connector}&setting={setting}");
        let looked_up = LookedUp { setting, search, address };
        looked_up.answer(listed, is_part(&headers), || page(&form))
    };
    let recorded = ("connector.look-up", Some(connector.as_str()));
    audit::run_part(&app, &visitor.account, &caller, recorded, look_up).await
}

async fn look_up_new(
    app: &AppState,
    connector: &str,
    setting: &str,
    search: &str,
    form: &Form,
) -> Found {
    let manifest = create::manifest(app, connector);
    let name = connector.parse::<ConnectorName>();
    let (Ok(manifest), Ok(name)) = (manifest, name) else {
        let why = "it is not the name of a usable connector".to_owned();
        let error = SettingError { name: "connector".to_owned(), why };
        return Err(ConnectionError::Invalid(vec![error]));
    };
    let mut new = input::new_connection(form, connector, &manifest.settings_schema)
        .map_err(ConnectionError::Invalid)?;
    // It is looked up because it is not known yet.
    new.settings.remove(setting);
    let of_host = host_secrets([(CLIENT_CERT, new.client_cert), (CLIENT_KEY, new.client_key)]);
    let secrets = new.secrets.into_iter().chain(of_host);
    let values = Unstored {
        settings: new.settings,
        secrets: secrets.map(|(name, secret)| (name, secret.0)).collect(),
        allow_private: new.allow_private,
        http1_only: new.http1_only,
        report: Settings::new(),
        may_be_incomplete: true,
    };
    app.services.connections.choices_of_new(&name, values, setting, search).await
}

/// The form with the value that a person took, if they took one.
fn taken(
    form: &Form,
    setting: &str,
    page: impl FnOnce(&Form) -> Result<FormPage, Problem>,
) -> Result<Option<FormPage>, Problem> {
    let Some(value) = form.find(TAKE) else { return Ok(None) };
    let mut shown = page(form)?;
    let control = shown.setting_mut(setting).ok_or_else(|| Problem::not_found("setting"))?;
    control.take(value);
    Ok(Some(shown))
}

/// What was looked up, and where.
struct LookedUp {
    setting: String,
    search: String,
    address: String,
}

impl LookedUp {
    fn answer(
        self,
        found: Found,
        is_part: bool,
        page: impl FnOnce() -> Result<FormPage, Problem>,
    ) -> Answer {
        let Self { setting, search, address } = self;
        let errors = match found {
            Ok(Ok(ChoicesPage { choices, more })) => {
                let choices = choices.into_iter().map(|it| (it.value, it.label)).collect();
                let listed = Listed { address, search, choices: Some(choices), more };
                return if is_part {
                    render(&listed)
                } else {
                    render(&page()?.with_listed(&setting, listed))
                };
            }
            Ok(Err(refusal)) if is_part => return Err((&refusal).into()),
            Err(error) if is_part => return Err(error.into()),
            Ok(Err(refusal)) => vec![SettingError { name: setting, why: refusal.to_string() }],
            Err(ConnectionError::Invalid(errors)) => errors,
            Err(error) => vec![SettingError { name: setting, why: error.to_string() }],
        };
        render_again(&page()?.with_errors(errors))
    }
}
