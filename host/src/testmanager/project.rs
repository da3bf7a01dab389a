//! Finds the project of a failed test. Most requests need the id of the project, but the webhook
//! does not contain the id. This module never changes a project.

use serde_json::{Value, json};

use crate::domain::FailedTest;

use super::client::Client;
use super::failure::Failure;
use super::json::text_member;
use super::link;

/// The part of an error message that describes how to set the project.
const SET_PROJECT_HINT: &str = "set it with `jackfield connections edit NAME --test-manager-project ID` (its id in Test Manager)";

pub(super) fn read_id(project: &Value) -> Option<String> {
    text_member(project, &["id", "projectId"])
}

/// Identifies the project of a failed test. The sources are, in this order: the settings, the
/// prefix in the link, the only project whose KPIs the connection answers, the project whose
/// defects were counted last. The result has at least the project's id.
pub(super) async fn identify(client: &Client, test: Option<&FailedTest>) -> Result<Value, Failure> {
    let settings = &client.context.settings;
    if let Some(id) = &settings.project_id {
        return Ok(json!({"id": id}));
    }
    let link = test.and_then(|test| test.link.as_deref());
    let mut failure = unknown_project(match link {
        Some(_) => "the link to the test case log contains no project",
        None => "there is no link to the test case log",
    });
    if let Some(prefix) = link.and_then(|link| link::project_prefix(link, &settings.base_url)) {
        match read_project(client, &["projects", "prefix", &prefix]).await {
            Ok(project) => return Ok(project),
            Err(token_failure @ (Failure::Token(_) | Failure::Scope(_))) => {
                return Err(token_failure);
            }
            Err(Failure::NotFound(why)) => {
                failure = unknown_project(&format!(
                    "no project has the prefix {prefix} of the link ({why})"
                ));
            }
            Err(other) => failure = other,
        }
    }
    match pinned_or_last_counted_project(client).await {
        Some(id) => Ok(json!({"id": id})),
        None => Err(failure),
    }
}

fn unknown_project(why: &str) -> Failure {
    Failure::Project(format!("the project is not known, because {why}; {SET_PROJECT_HINT}"))
}

/// Requests the project's details, unless `project` already contains a name.
pub(super) async fn fetch_details(client: &Client, project: Value) -> Result<Value, Failure> {
    match read_id(&project) {
        Some(id) if text_member(&project, &["name"]).is_none() => {
            read_project(client, &["projects", &id]).await
        }
        _ => Ok(project),
    }
}

async fn pinned_or_last_counted_project(client: &Client) -> Option<String> {
    let context = &client.context;
    if context.pinned_project.is_some() {
        return context.pinned_project.clone();
    }
    let last = context.deps.store.last_counted_project(context.active().connection.id).await;
    last.unwrap_or_else(|error| {
        tracing::warn!("the last counted project cannot be read: {error}");
        None
    })
}

/// Returns the stored project that an earlier request to this path found. If no recent one is
/// stored, requests the project and stores it.
async fn read_project(client: &Client, path: &[&str]) -> Result<Value, Failure> {
    let key = path.join("/");
    if let Some(project) = client.context.state.recent_project(&key) {
        return Ok(project);
    }
    let project = client.get(path, &[]).await?;
    if read_id(&project).is_none() {
        return Err(Failure::Other("Test Manager's answer contains no project".to_owned()));
    }
    client.context.state.store_project(key, project.clone());
    Ok(project)
}
