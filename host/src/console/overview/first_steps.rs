//! Lists the steps that lead a person from an empty server to the first defect.

use crate::api::{Connection, ConnectionStatus};
use crate::console::frame::Visitor;
use crate::http::{AppState, admin};
use crate::plugins::ConnectorStatus;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct FirstStep {
    pub(super) title: &'static str,
    pub(super) text: String,
    /// The address and the text of the button; `None` if the step cannot be done yet.
    pub(super) link: Option<(String, &'static str)>,
    pub(super) is_done: bool,
}

/// The list is empty after the first success of a connection.
pub(super) fn list_first_steps(app: &AppState, visitor: &Visitor) -> Vec<FirstStep> {
    let all = app.services.connections.list();
    if all.iter().any(|it| it.last_success_at.is_some()) {
        return Vec::new();
    }
    let is_ready = |it: &crate::plugins::ConnectorInfo| it.status == ConnectorStatus::Ready;
    let has_connector = app.services.plugins.list().iter().any(is_ready);
    let visible = all.iter().find(|it| visitor.account.sees(it.connection.id));
    let connection = visible.map(|it| admin::connections::to_api_connection(app, it));
    let folder = app.services.config.current().plugins.display().to_string();
    steps(has_connector, connection.as_ref(), &folder)
}

fn steps(has_connector: bool, connection: Option<&Connection>, folder: &str) -> Vec<FirstStep> {
    let path = connection.map(|it| format!("/connections/{}", it.id));
    let subpage = |name: &str| path.as_ref().map(|path| format!("{path}{name}"));
    let is_active = connection.is_some_and(|it| it.status.0 == ConnectionStatus::Active);
    let step = |title, text: &str, href: Option<String>, button, is_done| FirstStep {
        title,
        text: text.to_owned(),
        link: href.map(|href| (href, button)),
        is_done,
    };
    let upload = format!("Upload the connector for your tracker, or copy it into {folder}.");
    let mut steps = vec![
        step("Add a connector", &upload, Some("/connectors".to_owned()), "Upload", has_connector),
        step(
            "Create a connection",
            "A connection stores what the connector needs for your tracker: the address, a project and \
             credentials.",
            Some("/connections/new".to_owned()),
            "Create",
            connection.is_some(),
        ),
        step(
            "Try it, and enter its webhook URL in Test Manager",
            "The try shows step by step what works. The webhook URL was shown when the connection was \
             created; to get a new URL, rotate the token.",
            subpage("/try"),
            "Try",
            false,
        ),
        step(
            "Create the first defect",
            "Open a failed test in Test Manager and choose Create Defect. The page behind this button \
             shows the event as soon as it arrives.",
            subpage("/first-event").filter(|_| is_active),
            "Wait for it",
            false,
        ),
    ];
    if !has_connector {
        // The other steps need a connector.
        steps.iter_mut().skip(1).for_each(|it| it.link = None);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_connector_only_the_first_step_has_a_link() {
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
