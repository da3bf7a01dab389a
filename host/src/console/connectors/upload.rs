//! The form that uploads a connector's file. The file passes the checks of the folder; a refused
//! one changes nothing, and the form says why.

use std::path::Path;

use axum::extract::State;
use axum::extract::multipart::{Field, Multipart, MultipartError, MultipartRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};

use crate::console::flash;
use crate::console::frame::Visitor;
use crate::domain::ConnectorName;
use crate::http::admin::upload::{Incoming, connector_name, install};
use crate::http::audit::CreatedObject;
use crate::http::problem::Problem;

use super::{Answer, App, list_page};

/// Maximum length of the name in the form, bytes.
const NAME_BYTES_MAX: usize = 256;

type Form = Result<Multipart, MultipartRejection>;

pub(in crate::console) async fn upload(State(app): App, visitor: Visitor, form: Form) -> Answer {
    let uploaded = match read(&app, form).await {
        Ok((name, file)) => install(&app, name.clone(), None, file).await.map(|it| (name, it)),
        Err(problem) => Err(problem),
    };
    match uploaded {
        Ok((name, (status, Json(replaced)))) => {
            let version = replaced.connector.version.unwrap_or_default();
            let text = if status == StatusCode::CREATED {
                format!("The connector {name} was uploaded. Its version {version} serves now.")
            } else {
                format!("Version {version} of {name} serves now. The one before is kept.")
            };
            let done = flash::done(&format!("/connectors/{name}"), &text);
            Ok((Extension(CreatedObject(name.to_string())), done).into_response())
        }
        Err(problem) => refused(&app, &visitor, &problem),
    }
}

/// The list with the reason in the place of the form.
fn refused(app: &crate::http::AppState, visitor: &Visitor, problem: &Problem) -> Answer {
    let shown = problem.body("");
    // The detail repeats the reason of the field.
    let why = shown.errors.first().map_or(shown.detail, |error| error.why.clone());
    let page: Response = list_page(app, visitor, Some(why))?;
    Ok((problem.status(), Extension(problem.code()), page).into_response())
}

/// Reads the name and the file, in this order.
async fn read(
    app: &crate::http::AppState,
    form: Form,
) -> Result<(ConnectorName, Incoming), Problem> {
    let not_a_form = |_| Problem::bad_request("this page takes the form of the console only");
    let mut form = form.map_err(not_a_form)?;
    let mut given = String::new();
    while let Some(field) = form.next_field().await.map_err(|error| not_read(&error))? {
        match field.name() {
            Some("name") => given = text(field).await?,
            Some("file") => {
                let name = name(&given, field.file_name().unwrap_or_default())?;
                let file = file(app, &name, field).await?;
                return Ok((name, file));
            }
            _ => {}
        }
    }
    Err(Problem::invalid_value("file", "choose a file"))
}

/// The name in the form, or else that of the file without its ending.
fn name(given: &str, file: &str) -> Result<ConnectorName, Problem> {
    match (given.trim(), Path::new(file).file_stem().and_then(|it| it.to_str())) {
        ("", Some(stem)) => connector_name(stem),
        ("", None) => Err(Problem::invalid_value("file", "choose a file")),
        (given, _) => connector_name(given),
    }
}

async fn text(mut field: Field<'_>) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(part) = field.chunk().await.map_err(|error| not_read(&error))? {
        bytes.extend(part);
        if bytes.len() > NAME_BYTES_MAX {
            return Err(Problem::invalid_value("name", "it is too long"));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn file(
    app: &crate::http::AppState,
    name: &ConnectorName,
    mut field: Field<'_>,
) -> Result<Incoming, Problem> {
    let mut incoming = Incoming::begin(app, name)?;
    while let Some(part) = incoming.next(field.chunk()).await?.map_err(|error| not_read(&error))? {
        incoming.add(&part)?;
    }
    Ok(incoming)
}

fn not_read(error: &MultipartError) -> Problem {
    tracing::debug!(%error, "an uploaded form cannot be read");
    Problem::incomplete_body()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_the_file_unless_the_form_has_another() {
        assert_eq!(name(" mine ", "redmine.wasm").unwrap().as_str(), "mine");
        assert_eq!(name("", "redmine.wasm").unwrap().as_str(), "redmine");
        assert!(name("", "").is_err() && name("", "No Name.js").is_err());
    }
}
