//! The way from an empty server to the first defect, as steps with the one that is next.

use crate::api::{Connection, ConnectionStatus};
use crate::console::frame::Visitor;
use crate::http::{AppState, admin};
use crate::plugins::ConnectorStatus;

/// A step on the way to the first defect.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FirstStep {
    pub(super) title: &'static str,
    pub(super) text: String,
    /// The address and the text of the link, if the step is next.
    pub(super) link: Option<(String, &'static str)>,
    pub(super) is_done: bool,
}

/// The steps, until a connection has answered an event. Empty afterwards.
pub(super) fn list(app: &AppState, visitor: &Visitor) -> Vec<FirstStep> {
    let all = app.services.connections.list();
    if all.iter().any(|it| it.last_success_at.is_some()) {
        return Vec::new();
    }
    let is_ready = |it: &crate::plugins::ConnectorInfo| it.status == ConnectorStatus::Ready;
    let has_connector = app.services.plugins.list().iter().any(is_ready);
    let seen = all.iter().find(|it| visitor.account.sees(it.connection.id));
    let connection = seen.map(|it| admin::connections::connection(app, it));
    let folder = app.services.config.now().plugins.display().to_string();
    steps(has_connector, connection.as_ref(), &folder)
}

fn steps(has_connector: bool, connection: Option<&Connection>, folder: &str) -> Vec<FirstStep> {
    let path = connection.map(|it| format!("/connections/{}", it.id));
    let at = |part: &str| path.as_ref().map(|path| format!("{path}{part}"));
    let is_active = connection.is_some_and(|it| it.status.0 == ConnectionStatus::Active);
    let step = |title, text: &str, href: Option<String>, button, is_done| FirstStep {
        title,
        text: text.to_owned(),
        link: href.map(|href| (href, button)),
        is_done,
    };
    let folder = format!("Upload the connector for your tracker, or copy it into {folder}.");
    let mut steps = vec![
        step("Add a connector", &folder, Some("/connectors".to_owned()), "Upload", has_connector),
        step(
            "Create a connection",
            "It joins the connector with your tracker: its address, a project, credentials.",
            Some("/connections/new".to_owned()),
            "Create",
            connection.is_some(),
        ),
        step(
            "Try it, and enter its webhook URL in Test Manager",
            "The try says step by step what works. The URL was shown when the connection was \
             created; rotate the token to see another.",
            at("/try"),
            "Try",
            false,
        ),
        step(
            "Create the first defect",
            "Open a failed test in Test Manager and choose Create Defect. The event appears by itself.",
            at("/first-event").filter(|_| is_active),
            "Wait for it",
            false,
        ),
    ];
    if !has_connector {
        // Nothing can be done before the first step.
        steps.iter_mut().skip(1).for_each(|it| it.link = None);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_connector_only_the_first_step_leads_anywhere() {
        let steps = steps(false, None, "plugins");
        assert!(steps.iter().all(|it| !it.is_done));
        assert_eq!(steps[0].link, Some(("/connectors".to_owned(), "Upload")));
        assert!(steps.iter().skip(1).all(|it| it.link.is_none()));
        assert!(steps[0].text.contains("plugins"));
    }

    #[test]
    fn with_a_connector_the_next_step_is_a_connection() {
        let steps = steps(true, None, "plugins");
        let next = steps.iter().find(|it| !it.is_done).unwrap();
        assert_eq!(next.link, Some(("/connections/new".to_owned(), "Create")));
        assert_eq!(steps[3].link, None);
    }
}
