//! Handles the form that uploads the file of a connector. If the server refuses the file, nothing
//! changes, and the page shows the reason.

use std::path::Path;

use axum::Extension;
use axum::extract::State;
use axum::extract::multipart::{Field, Multipart, MultipartError, MultipartRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::console::flash;
use crate::console::frame::Visitor;
use crate::domain::ConnectorName;
use crate::http::admin::upload::{IncomingFile, connector_name, install};
use crate::http::audit::CreatedObject;
use crate::http::problem::Problem;
use crate::json::Json;

use super::{Answer, App, in_use_now, list_page};

/// Maximum length of the connector's name in the form, bytes.
const NAME_BYTES_MAX: usize = 256;

type Form = Result<Multipart, MultipartRejection>;

pub(in crate::console) async fn upload_connector(
    State(app): App,
    visitor: Visitor,
    form: Form,
) -> Answer {
    let installed = match read_form(&app, form).await {
        Ok((name, file)) => install(&app, name.clone(), None, file).await.map(|it| (name, it)),
        Err(problem) => Err(problem),
    };
    match installed {
        Ok((name, (status, Json(replaced)))) => {
            let version = replaced.connector.version.unwrap_or_default();
            let in_use_now = in_use_now(&app, name.as_str());
            let text = if status == StatusCode::CREATED {
                format!("The connector {name} was uploaded. Its version {version} {in_use_now}.")
            } else {
                format!("Version {version} of {name} {in_use_now}. The earlier version is kept.")
            };
            let done = flash::redirect_with_success(&format!("/connectors/{name}"), &text);
            Ok((Extension(CreatedObject(name.to_string())), done).into_response())
        }
        Err(problem) => refused_page(&app, &visitor, &problem),
    }
}

fn refused_page(app: &crate::http::AppState, visitor: &Visitor, problem: &Problem) -> Answer {
    let body = problem.body("");
    // If the problem has errors of fields, its detail only repeats them.
    let reason = body.errors.first().map_or(body.detail, |error| error.why.clone());
    let page: Response = list_page(app, visitor, Some(reason))?;
    Ok((problem.status(), Extension(problem.code()), page).into_response())
}

/// The form must send `name` before `file`, because the name determines the maximum size of the
/// file.
async fn read_form(
    app: &crate::http::AppState,
    form: Form,
) -> Result<(ConnectorName, IncomingFile), Problem> {
    let not_multipart = |_| Problem::bad_request("this page accepts only the form of the console");
    let mut form = form.map_err(not_multipart)?;
    let mut entered_name = String::new();
    while let Some(field) = form.next_field().await.map_err(|error| incomplete_form(&error))? {
        match field.name() {
            Some("name") => entered_name = read_name(field).await?,
            Some("file") => {
                let name = choose_name(&entered_name, field.file_name().unwrap_or_default())?;
                let file = receive_file(app, &name, field).await?;
                return Ok((name, file));
            }
            _ => {}
        }
    }
    Err(Problem::invalid_value("file", "choose a file"))
}

/// If no name was entered, returns the name of the file without its extension.
fn choose_name(entered_name: &str, file_name: &str) -> Result<ConnectorName, Problem> {
    match (entered_name.trim(), Path::new(file_name).file_stem().and_then(|it| it.to_str())) {
        ("", Some(stem)) => connector_name(stem),
        ("", None) => Err(Problem::invalid_value("file", "choose a file")),
        (entered_name, _) => connector_name(entered_name),
    }
}

async fn read_name(mut field: Field<'_>) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(part) = field.chunk().await.map_err(|error| incomplete_form(&error))? {
        bytes.extend(part);
        if bytes.len() > NAME_BYTES_MAX {
            return Err(Problem::invalid_value("name", "the name is too long"));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn receive_file(
    app: &crate::http::AppState,
    name: &ConnectorName,
    mut field: Field<'_>,
) -> Result<IncomingFile, Problem> {
    let mut incoming = IncomingFile::create(app, name)?;
    while let Some(part) =
        incoming.wait_for_part(field.chunk()).await?.map_err(|error| incomplete_form(&error))?
    {
        incoming.append(&part)?;
    }
    Ok(incoming)
}

fn incomplete_form(error: &MultipartError) -> Problem {
    tracing::debug!(%error, "cannot read an uploaded form");
    Problem::incomplete_body()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entered_name_takes_precedence_over_the_name_of_the_file() {
        assert_eq!(choose_name(" mine ", "redmine.wasm").unwrap().as_str(), "mine");
        assert_eq!(choose_name("", "redmine.wasm").unwrap().as_str(), "redmine");
        assert!(choose_name("", "").is_err() && choose_name("", "No Name.js").is_err());
    }
}
