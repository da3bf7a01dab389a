//! Handles the webhook request of an event again, after a confirmation page.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;

use crate::api::{Event, EventReplay, EventWithRuns, ReplayEvent};
use crate::console::confirm::ConfirmationPage;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Section, render};
use crate::domain::{DecidedDoubt, DefectRecord, DefectState, EventKind};
use crate::http::admin::{Body, Id, defects, events, replay};
use crate::http::problem::Problem;
use crate::json::Json;

use super::{Answer, App, can_repeat};

pub(in crate::console) async fn ask_to_repeat_request(
    app: App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    let account = Extension(visitor.account.clone());
    let Json(EventWithRuns { event, .. }) =
        events::show(State(Arc::clone(&app.0)), account, Id(id)).await?;
    if !can_repeat(&event) {
        let reason = "only Create Defect and Defect KPIs of a connection can be handled again";
        return Err(Problem::conflict(reason));
    }
    let defect = match event.defect {
        Some(id) => {
            Some(defects::find_visible_defect(&app, &visitor.account, &id.to_string()).await?)
        }
        None => None,
    };
    let path = format!("/events/{}", event.id);
    render(&ConfirmationPage {
        layout: visitor.layout(Section::Events, "Handle the request again"),
        effects: describe_effects(&event, defect.as_ref()),
        fields: Vec::new(),
        hidden_fields: Vec::new(),
        submit_href: format!("{path}/repeat"),
        button_label: "Handle it again",
        button_class: "primary",
        back_href: format!("{path}/replay"),
        back_label: "Replay".to_owned(),
    })
}

/// Returns sentences that tell the person what will happen.
fn describe_effects(event: &Event, defect: Option<&DefectRecord>) -> Vec<String> {
    let first = match event.kind.0 {
        EventKind::CreateDefect => describe_create(defect),
        _ => "The connector counts the defects in the tracker, unless the last counts are recent. \
              Nothing is written to the tracker."
            .to_owned(),
    };
    vec![
        first,
        "This is not a dry run: the connection handles the request as if Test Manager had sent it \
         again, with its current settings and version of the connector."
            .to_owned(),
        "A new event is stored. Test Manager does not see the answer.".to_owned(),
    ]
}

/// Describes a repeated Create Defect. `defect` is the present state of the event's defect.
fn describe_create(defect: Option<&DefectRecord>) -> String {
    let Some(record) = defect else {
        return "If the failed test has no defect, the tracker gets a new one. If it has one, the \
                request is answered with this defect."
            .to_owned();
    };
    match (record.state, &record.defect, record.decided) {
        (DefectState::Created, Some(defect), _) => format!(
            "The failed test has the defect {}. The request is answered with this defect, and no \
             other one is created.",
            defect.key
        ),
        (DefectState::InDoubt, _, None) => {
            "The defect is in doubt: the tracker may already have it. The tracker is searched; \
             nothing is created while the defect is in doubt."
                .to_owned()
        }
        (DefectState::Sent, ..) => {
            "The defect is being created. The request waits, and is answered with this defect."
                .to_owned()
        }
        (_, _, Some(DecidedDoubt::Retry | DecidedDoubt::GiveUp)) | (DefectState::Failed, ..)
            if record.writes > 0 =>
        {
            "The tracker is searched for the defect. If the search does not find it, although its \
             index delay has passed, a new defect is created."
                .to_owned()
        }
        _ => "The failed test has no defect yet: the tracker gets a new one.".to_owned(),
    }
}

pub(in crate::console) async fn repeat_request(
    app: App,
    visitor: Visitor,
    Id(id): Id,
    _: Form,
) -> Answer {
    let account = Extension(visitor.account.clone());
    let body = ReplayEvent { for_real: true, ..ReplayEvent::default() };
    let Json(EventReplay { for_real, .. }) =
        replay::replay(app, account, Id(id.clone()), Body(body)).await?;
    let repeated = for_real.ok_or_else(Problem::internal)?;
    let location = format!("/events/{}", repeated.event.map_or(id, |new| new.to_string()));
    if repeated.status < 400 {
        return Ok(flash::redirect_with_success(
            &location,
            "This is the new event. The request succeeded.",
        ));
    }
    let text = format!("This is the new event. The request was answered {}.", repeated.status);
    Ok(flash::redirect_with_warning(&location, &text))
}
