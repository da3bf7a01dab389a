//! `/events/{id}/replay`: makes the recorded calls of an event again as a dry run, and shows the
//! differences side by side.

mod comparison;
mod repeat;

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde_json::Value;

use crate::api::{
    EnumString, Event, EventRecording, EventReplay, EventWithRuns, RecordedRun, ReplayEvent,
};
use crate::domain::{Call, ConnectionId, ConnectorName, EventKind, Role, StringEnum as _, records};
use crate::http::AppState;
use crate::http::admin::{Body, Id, events, replay};
use crate::http::problem::Problem;

use super::form::Form;
use super::frame::Visitor;
use super::page::{Page, Section, render};
use super::parts::{Action, Control, Field, When};
use comparison::{AnswerPart, ReplayPart};

pub(super) use repeat::{ask as ask_to_repeat, repeat};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "console/replay/replay.html")]
struct ReplayPage {
    page: Page,
    it: Event,
    recording: Recording,
    fields: Vec<Field>,
    settings: Field,
    /// The reason why the replay failed.
    error: Option<String>,
    /// The result; absent before the replay.
    runs: Option<Vec<ReplayPart>>,
    /// Handles the request once more; absent for events that are not a request of Test Manager.
    repeat: Option<Action>,
}

/// What is recorded of an event, and how the next ones are recorded.
pub(super) struct Recording {
    pub(super) runs: Vec<RecordedRun>,
    /// Until when the connection records.
    pub(super) until: Option<When>,
    /// Switches recording on; absent if the event has no connection.
    pub(super) switch_on: Option<Action>,
}

impl Recording {
    pub(super) async fn read(app: &App, visitor: &Visitor, event: &Event) -> Result<Self, Problem> {
        let account = Extension(visitor.account.clone());
        let id = Id(event.id.to_string());
        let Json(EventRecording { runs }) =
            events::recording(State(Arc::clone(&app.0)), account, id).await?;
        let active =
            event.connection.and_then(|id| app.services.connections.active(ConnectionId(id)));
        let until = active.as_ref().and_then(|active| active.connection.record_until);
        let until = until.filter(|_| records(until, visitor.now));
        let switch_on = active.map(|active| {
            let href = format!("/connections/{}/record", active.connection.id);
            Action::link(visitor, Role::Author, "Record the next events", href).primary()
        });
        Ok(Self { runs, until: until.map(|until| When::new(until, visitor.now)), switch_on })
    }
}

pub(super) async fn show(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    render(&page(&app, &visitor, id, &Form::default()).await?)
}

pub(super) async fn run(app: App, visitor: Visitor, Id(id): Id, form: Form) -> Answer {
    let page = page(&app, &visitor, id.clone(), &form).await?;
    let replayed = match wish(&form) {
        Ok(wish) => {
            let account = Extension(visitor.account.clone());
            replay::replay(app, account, Id(id), Body(wish)).await
        }
        Err(problem) => Err(problem),
    };
    match replayed {
        Ok(Json(EventReplay { runs, .. })) => {
            let runs = runs.into_iter().map(ReplayPart::new).collect();
            render(&ReplayPage { runs: Some(runs), ..page })
        }
        Err(problem) => {
            let shown = problem.body(&page.page.path);
            let errors = shown.errors.iter().map(|it| format!("{}: {}", it.name, it.why));
            let error = std::iter::once(shown.detail).chain(errors).collect::<Vec<_>>().join(". ");
            let page = render(&ReplayPage { error: Some(error), ..page })?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, Extension(problem.code()), page).into_response())
        }
    }
}

/// What the form asks for.
fn wish(form: &Form) -> Result<ReplayEvent, Problem> {
    let given = |name: &str| Some(form.get(name).trim()).filter(|it| !it.is_empty());
    let call = given("call").map(|word| {
        let known = Call::parse(word).map(EnumString);
        known.ok_or_else(|| {
            Problem::bad_request(format!("`call`: {word} is not the name of an export"))
        })
    });
    Ok(ReplayEvent {
        version: given("version").map(str::to_owned),
        call: call.transpose()?,
        settings: changes(form.get("settings"))?,
        for_real: false,
    })
}

/// Reads lines such as `project=qa`. A value is JSON, or else a text; an empty one removes the
/// setting.
fn changes(lines: &str) -> Result<BTreeMap<String, Option<Value>>, Problem> {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let change = |line: &str| {
        let why = || Problem::bad_request(format!("{line:?} is not a line such as `project=qa`"));
        let (name, value) = line.split_once('=').ok_or_else(why)?;
        let value = value.trim();
        let text = || Value::String(value.to_owned());
        let value =
            (!value.is_empty()).then(|| serde_json::from_str(value).unwrap_or_else(|_| text()));
        Ok((name.trim().to_owned(), value))
    };
    lines.map(change).collect()
}

/// The page with the form as it was sent.
async fn page(
    app: &App,
    visitor: &Visitor,
    id: String,
    form: &Form,
) -> Result<ReplayPage, Problem> {
    let account = Extension(visitor.account.clone());
    let found = events::show(State(Arc::clone(&app.0)), account, Id(id)).await?;
    let Json(EventWithRuns { event, .. }) = found;
    let recording = Recording::read(app, visitor, &event).await?;
    let selected = |name: &str, label, options| {
        let value = form.get(name).to_owned();
        Field::new(name, label, Control::Select { value, options })
    };
    let mut fields = Vec::new();
    if let Some(run) = recording.runs.first() {
        fields.push(
            selected("version", "Version of the connector", versions(app, run))
                .help("Earlier versions are those to which the connector can be rolled back."),
        );
        let word = |run: &RecordedRun| (run.call.to_string(), format!("only {}", run.call));
        let mut calls: Vec<_> = recording.runs.iter().map(word).collect();
        calls.dedup();
        if calls.len() > 1 {
            calls.insert(0, (String::new(), "all".to_owned()));
            fields.push(selected("call", "Recorded calls", calls));
        }
    }
    let settings = Control::Lines { value: form.get("settings").to_owned(), rows: 3 };
    let settings = Field::new("settings", "Settings that are changed for the replay", settings)
        .help("One in a line, such as project=qa. Without a value, the setting is removed.");
    Ok(ReplayPage {
        page: visitor.page(Section::Events, "Replay"),
        repeat: is_request(&event).then(|| {
            let href = format!("/events/{}/repeat", event.id);
            Action::link(visitor, Role::Operator, "Handle it again", href)
        }),
        it: event,
        recording,
        fields,
        settings,
        error: None,
        runs: None,
    })
}

/// Whether Test Manager may send the request of the event again.
fn is_request(event: &Event) -> bool {
    let kind = event.kind.0;
    event.connection.is_some() && matches!(kind, EventKind::CreateDefect | EventKind::Kpis)
}

/// The versions that can replay a run: the one that ran, the newest, and those that are kept.
fn versions(app: &App, run: &RecordedRun) -> Vec<(String, String)> {
    let short = |sha256: &str| sha256.chars().take(8).collect::<String>();
    let ran = &run.input;
    let recorded =
        format!("{}, the one that ran ({})", ran.connector_version, short(&ran.connector_sha256));
    let mut options = vec![(String::new(), recorded)];
    let mut offered = vec![ran.connector_sha256.clone()];
    let plugins = &app.services.plugins;
    let newest = plugins.list().into_iter().find(|info| info.name == ran.connector);
    if let Some((sha256, manifest)) = newest.and_then(|it| it.sha256.zip(it.manifest))
        && !offered.contains(&sha256)
    {
        let text = format!("{}, the newest ({})", manifest.version, short(&sha256));
        options.push(("newest".to_owned(), text));
        offered.push(sha256);
    }
    let name = ran.connector.parse::<ConnectorName>();
    let kept = name.map(|name| plugins.versions(&name)).unwrap_or_default();
    for version in kept.into_iter().filter(|it| !offered.contains(&it.sha256)) {
        let since = jiff::Timestamp::try_from(version.served_at).ok();
        let since = since.map(|at| format!(", served since {}", at.strftime("%Y-%m-%d %H:%M UTC")));
        let text = format!("{}{}", short(&version.sha256), since.unwrap_or_default());
        options.push((version.sha256, text));
    }
    options
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_changed_setting_is_json_or_a_text_and_an_empty_one_is_removed() {
        let read = changes(" team = blue\n\nlimit=3\nold=\nurl=http://a/?b=c").unwrap();
        let expected = [
            ("limit", Some(json!(3))),
            ("old", None),
            ("team", Some(json!("blue"))),
            ("url", Some(json!("http://a/?b=c"))),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(read.into_iter().collect::<Vec<_>>(), expected);
        assert!(changes("team").is_err());
    }
}
