//! Finds the project of a failed test. The webhook does not name it, but every request needs it.

use serde_json::{Value, json};

use crate::domain::FailedTest;

use super::client::Client;
use super::failure::Failure;
use super::json::text;
use super::link;

/// How to fix an unknown project, for the admin.
const FIX: &str = "set it with `jackfield connections edit NAME --test-manager-project ID` (its id in Test Manager)";

/// The id in a project's JSON.
pub(super) fn id(project: &Value) -> Option<String> {
    text(project, &["id", "projectId"])
}

/// Identifies the project: first by the settings, then by the prefix in the link, then by the
/// connection's pinned project, or else by the project whose defects were counted last. The result
/// has at least the project's id.
pub(super) async fn identify(client: &Client, test: Option<&FailedTest>) -> Result<Value, Failure> {
    let settings = &client.shared.settings;
    if let Some(id) = &settings.project_id {
        return Ok(json!({"id": id}));
    }
    let link = test.and_then(|test| test.link.as_deref());
    let mut failure = unknown(match link {
        Some(_) => "the link to the test case log names no project",
        None => "there is no link to the test case log",
    });
    if let Some(prefix) = link.and_then(|link| link::project_prefix(link, &settings.base_url)) {
        match read(client, &["projects", "prefix", &prefix]).await {
            Ok(project) => return Ok(project),
            Err(no_token @ (Failure::Token(_) | Failure::Scope(_))) => return Err(no_token),
            Err(Failure::NotFound(why)) => {
                failure = unknown(&format!("none has the link's prefix {prefix} ({why})"));
            }
            Err(other) => failure = other,
        }
    }
    match counted(client).await {
        Some(id) => Ok(json!({"id": id})),
        None => Err(failure),
    }
}

fn unknown(why: &str) -> Failure {
    Failure::Project(format!("the project is not known, because {why}; {FIX}"))
}

/// Requests the project's details, unless `project` already has them.
pub(super) async fn details(client: &Client, project: Value) -> Result<Value, Failure> {
    match id(&project) {
        Some(id) if text(&project, &["name"]).is_none() => read(client, &["projects", &id]).await,
        _ => Ok(project),
    }
}

/// The pinned project of the connection, or else the project whose defects were counted last.
async fn counted(client: &Client) -> Option<String> {
    let shared = &client.shared;
    if shared.pinned.is_some() {
        return shared.pinned.clone();
    }
    let last = shared.deps.store.last_counted_project(shared.active().connection.id).await;
    last.unwrap_or_else(|error| {
        tracing::warn!("the last counted project cannot be read: {error}");
        None
    })
}

/// Requests a project, unless the same request found one within the last hour.
async fn read(client: &Client, path: &[&str]) -> Result<Value, Failure> {
    let key = path.join("/");
    if let Some(project) = client.shared.state.project(&key) {
        return Ok(project);
    }
    let project = client.get(path, &[]).await?;
    if id(&project).is_none() {
        return Err(Failure::Other("Test Manager's answer contains no project".to_owned()));
    }
    client.shared.state.keep_project(key, project.clone());
    Ok(project)
}
