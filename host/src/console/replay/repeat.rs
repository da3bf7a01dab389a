//! `/events/{id}/repeat`: handles the webhook request of an event again, after a page that says
//! what will happen.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use crate::api::{Event, EventReplay, EventWithRuns, ReplayEvent};
use crate::console::confirm::Confirm;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Section, render};
use crate::domain::{DecidedDoubt, DefectRecord, DefectState, EventKind};
use crate::http::admin::{Body, Id, defects, events, replay};
use crate::http::problem::Problem;

use super::{Answer, App, is_request};

pub(in crate::console) async fn ask(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    let account = Extension(visitor.account.clone());
    let found = events::show(State(Arc::clone(&app.0)), account, Id(id)).await?;
    let Json(EventWithRuns { event, .. }) = found;
    if !is_request(&event) {
        let why = "only Create Defect and Defect KPIs of a connection can be handled again";
        return Err(Problem::conflict(why));
    }
    let defect = match event.defect {
        Some(id) => Some(defects::record(&app, &visitor.account, &id.to_string()).await?),
        None => None,
    };
    let path = format!("/events/{}", event.id);
    render(&Confirm {
        page: visitor.page(Section::Events, "Handle the request again"),
        effects: effects(&event, defect.as_ref()),
        fields: Vec::new(),
        hidden: Vec::new(),
        action: format!("{path}/repeat"),
        button: "Handle it again",
        tone: "primary",
        back: format!("{path}/replay"),
        back_label: "Replay".to_owned(),
    })
}

/// What will happen.
fn effects(event: &Event, defect: Option<&DefectRecord>) -> Vec<String> {
    let first = match event.kind.0 {
        EventKind::CreateDefect => of_create(defect),
        _ => "The connector counts the defects in the tracker, unless the last counts are recent. \
              Nothing is written."
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

fn of_create(defect: Option<&DefectRecord>) -> String {
    let Some(it) = defect else {
        return "If the failed test has no defect, the tracker gets a new one. If it has one, the \
                request is answered with it."
            .to_owned();
    };
    match (it.state, &it.defect, it.decided) {
        (DefectState::Created, Some(defect), _) => format!(
            "The failed test has the defect {}. The request is answered with it, and no other one \
             is created.",
            defect.key
        ),
        (DefectState::InDoubt, _, None) => {
            "The defect is in doubt: the tracker may have it already. The tracker is searched; \
             nothing is created before that is decided."
                .to_owned()
        }
        (DefectState::Sent, ..) => {
            "The defect is being created. The request waits for that, and is answered with it."
                .to_owned()
        }
        (_, _, Some(DecidedDoubt::Retry | DecidedDoubt::GiveUp)) | (DefectState::Failed, ..)
            if it.writes > 0 =>
        {
            "The tracker is searched for the defect. If it does not have it, it gets a new one."
                .to_owned()
        }
        _ => "The failed test has no defect yet: the tracker gets a new one.".to_owned(),
    }
}

pub(in crate::console) async fn repeat(app: App, visitor: Visitor, Id(id): Id, _: Form) -> Answer {
    let account = Extension(visitor.account.clone());
    let body = ReplayEvent { for_real: true, ..ReplayEvent::default() };
    let Json(EventReplay { for_real, .. }) =
        replay::replay(app, account, Id(id.clone()), Body(body)).await?;
    let repeated = for_real.ok_or_else(Problem::internal)?;
    let to = format!("/events/{}", repeated.event.map_or(id, |new| new.to_string()));
    if repeated.status < 400 {
        return Ok(flash::done(&to, "This is the new event. The request succeeded."));
    }
    let text = format!("This is the new event. The request was answered {}.", repeated.status);
    Ok(flash::warned(&to, &text))
}
