//! Lists the tasks that need a person.

use crate::api::ConnectionStatus;
use crate::console::frame::Visitor;
use crate::domain::RecentEvents;
use crate::http::AppState;
use crate::http::admin;
use crate::http::problem::Problem;
use crate::plugins::{ConnectorDifference, ConnectorInfo, ConnectorStatus};

use super::{Badge, Task, Tone};

pub(super) async fn list_tasks(
    app: &AppState,
    visitor: &Visitor,
    recent: &RecentEvents,
) -> Result<Vec<Task>, Problem> {
    let mut tasks: Vec<_> = doubt_task(app, visitor).await?.into_iter().collect();
    tasks.extend(connection_tasks(app, visitor));
    let is_broken = |it: &ConnectorInfo| it.status == ConnectorStatus::Broken;
    let broken = app.services.plugins.list().into_iter().filter(is_broken);
    tasks.extend(broken.map(broken_file_task));
    if visitor.account.connections.is_none() {
        let differences = app.services.plugins.differences().await?.into_iter();
        tasks.extend(differences.map(version_difference_task));
    }
    tasks.extend(unrecognised_task(recent));
    Ok(tasks)
}

/// Returns the task to decide about defects in doubt, if any needs a decision.
async fn doubt_task(app: &AppState, visitor: &Visitor) -> Result<Option<Task>, Problem> {
    let counts = app.services.store.count_doubts().await?.into_iter();
    let visible = counts.filter(|it| visitor.account.sees(it.connection));
    let count: u64 = visible.map(|it| it.need_person).sum();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Ok((count > 0).then(|| Task {
        badge: Badge::new(Tone::Bad, "in doubt"),
        title: count_phrase(count, "defect needs", "defects need") + " a decision",
        reason: "Jackfield cannot tell whether the tracker created the defect. It creates nothing \
                 until a person decides."
            .to_owned(),
        href: "/defects?needs_person=true".to_owned(),
        button_label: "Decide",
    }))
}

/// Returns a task for each connection that waits for consent, or that cannot use any version of its
/// connector.
fn connection_tasks(app: &AppState, visitor: &Visitor) -> Vec<Task> {
    let all = app.services.connections.list().into_iter();
    let visible = all.filter(|it| visitor.account.sees(it.connection.id));
    let task = |record| {
        let connection = admin::connections::to_api_connection(app, &record);
        let (badge, title, reason, subpage, button_label) = match connection.status.0 {
            ConnectionStatus::NeedsConsent => (
                "consent",
                "waits for consent",
                format!(
                    "The newest version of the connector wants to {}.",
                    connection.needs_consent?.join(", to ")
                ),
                "/consent",
                "Review",
            ),
            ConnectionStatus::ConnectorUnavailable => (
                "no connector",
                "has no connector",
                format!(
                    "No version of `{}` can be used: the connection cannot create or count defects.",
                    connection.connector
                ),
                "",
                "Show",
            ),
            ConnectionStatus::Active | ConnectionStatus::Paused => return None,
        };
        Some(Task {
            badge: Badge::new(if subpage.is_empty() { Tone::Bad } else { Tone::Warn }, badge),
            title: format!("{} {title}", connection.name),
            reason,
            href: format!("/connections/{}{subpage}", connection.id),
            button_label,
        })
    };
    visible.filter_map(task).collect()
}

fn broken_file_task(info: ConnectorInfo) -> Task {
    Task {
        badge: Badge::new(Tone::Bad, "broken file"),
        title: format!("The newest file of {} cannot be used", info.name),
        reason: info.error.unwrap_or_default(),
        href: format!("/connectors/{}", info.name),
        button_label: "Show",
    }
}

/// For servers that share a database and use different versions of a connector.
fn version_difference_task(difference: ConnectorDifference) -> Task {
    Task {
        badge: Badge::new(Tone::Warn, "differs"),
        title: format!("The servers use different versions of {}", difference.name),
        reason: format!("{}.", difference.describe()),
        href: format!("/connectors/{}", difference.name),
        button_label: "Show",
    }
}

fn unrecognised_task(recent: &RecentEvents) -> Option<Task> {
    let count = usize::try_from(recent.unrecognised).unwrap_or(usize::MAX);
    (count > 0).then(|| Task {
        badge: Badge::new(Tone::Warn, "unrecognised"),
        title: count_phrase(count, "request was", "requests were")
            + " not recognised in the last day",
        reason:
            "A sender with a valid webhook URL used a method or path that Jackfield does not know."
                .to_owned(),
        href: "/unrecognised".to_owned(),
        button_label: "Look",
    })
}

fn count_phrase(count: usize, singular: &str, plural: &str) -> String {
    if count == 1 { format!("1 {singular}") } else { format!("{count} {plural}") }
}
