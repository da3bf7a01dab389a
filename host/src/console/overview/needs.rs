//! What needs a person, the most urgent first.

use crate::api::ConnectionStatus;
use crate::console::frame::Visitor;
use crate::domain::RecentEvents;
use crate::http::AppState;
use crate::http::admin;
use crate::http::problem::Problem;
use crate::plugins::{ConnectorDifference, ConnectorInfo, ConnectorStatus};

use super::{Badge, Need, Tone};

pub(super) async fn list(
    app: &AppState,
    visitor: &Visitor,
    recent: &RecentEvents,
) -> Result<Vec<Need>, Problem> {
    let mut needs: Vec<_> = in_doubt(app, visitor).await?.into_iter().collect();
    needs.extend(connections(app, visitor));
    let broken = |it: &ConnectorInfo| it.status == ConnectorStatus::Broken;
    needs.extend(app.services.plugins.list().into_iter().filter(broken).map(connector));
    if visitor.account.connections.is_none() {
        needs.extend(app.services.plugins.differences().await?.into_iter().map(difference));
    }
    needs.extend(unrecognised(recent));
    Ok(needs)
}

async fn in_doubt(app: &AppState, visitor: &Visitor) -> Result<Option<Need>, Problem> {
    let all = app.services.store.count_doubts().await?.into_iter();
    let seen = all.filter(|it| visitor.account.sees(it.connection));
    let count: u64 = seen.map(|it| it.need_person).sum();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Ok((count > 0).then(|| Need {
        badge: Badge::new(Tone::Bad, "in doubt"),
        title: counted(count, "defect needs", "defects need") + " a decision",
        why: "Jackfield cannot tell whether the tracker created them, and creates nothing until \
              somebody decides."
            .to_owned(),
        href: "/defects?needs_person=true".to_owned(),
        button: "Decide",
    }))
}

fn connections(app: &AppState, visitor: &Visitor) -> Vec<Need> {
    let seen = app.services.connections.list().into_iter();
    let seen = seen.filter(|it| visitor.account.sees(it.connection.id));
    let need = |record| {
        let shown = admin::connections::connection(app, &record);
        let (word, title, why, to, button) = match shown.status.0 {
            ConnectionStatus::NeedsConsent => (
                "consent",
                "waits for consent",
                format!("The newest version wants to {}.", shown.needs_consent?.join(", to ")),
                "/consent",
                "Review",
            ),
            ConnectionStatus::ConnectorUnavailable => (
                "no connector",
                "has no connector",
                format!(
                    "No version of `{}` can be used. Its webhooks are refused.",
                    shown.connector
                ),
                "",
                "Show",
            ),
            ConnectionStatus::Active | ConnectionStatus::Paused => return None,
        };
        Some(Need {
            badge: Badge::new(if to.is_empty() { Tone::Bad } else { Tone::Warn }, word),
            title: format!("{} {title}", shown.name),
            why,
            href: format!("/connections/{}{to}", shown.id),
            button,
        })
    };
    seen.filter_map(need).collect()
}

fn connector(info: ConnectorInfo) -> Need {
    Need {
        badge: Badge::new(Tone::Bad, "broken file"),
        title: format!("The newest file of {} cannot be used", info.name),
        why: info.error.unwrap_or_default(),
        href: format!("/connectors/{}", info.name),
        button: "Show",
    }
}

fn difference(it: ConnectorDifference) -> Need {
    Need {
        badge: Badge::new(Tone::Warn, "differs"),
        title: format!("The servers use different versions of {}", it.name),
        why: format!("{}.", it.describe()),
        href: format!("/connectors/{}", it.name),
        button: "Show",
    }
}

fn unrecognised(recent: &RecentEvents) -> Option<Need> {
    let count = usize::try_from(recent.unrecognised).unwrap_or(usize::MAX);
    (count > 0).then(|| Need {
        badge: Badge::new(Tone::Warn, "unrecognised"),
        title: counted(count, "request was", "requests were") + " not recognised in the last day",
        why:
            "A sender with a valid webhook URL used a method or path that Jackfield does not know."
                .to_owned(),
        href: "/unrecognised".to_owned(),
        button: "Look",
    })
}

fn counted(count: usize, one: &str, more: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {more}") }
}
