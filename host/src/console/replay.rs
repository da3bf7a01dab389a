//! The page that replays the recorded calls of an event as a dry run, and compares the replay with
//! the recording.

mod comparison;
mod repeat;

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use crate::api::{
    EnumString, Event, EventRecording, EventReplay, EventWithRuns, RecordedRun, ReplayEvent,
};
use crate::domain::{
    Call, ConnectionId, ConnectorName, EventKind, Role, StringEnum as _, is_recording,
};
use crate::http::AppState;
use crate::http::admin::{Body, Id, events, replay};
use crate::http::problem::Problem;
use crate::json::Json;

use super::form::Form;
use super::frame::Visitor;
use super::page::{Layout, Section, render};
use super::parts::{Action, Control, Field, RelativeTime};
use comparison::{AnswerComparison, ReplayPart};

pub(super) use repeat::{ask_to_repeat_request, repeat_request};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "console/replay/replay.html")]
struct ReplayPage {
    layout: Layout,
    event: Event,
    recording: Recording,
    /// The fields to choose the version of the connector, and which recorded calls are replayed.
    fields: Vec<Field>,
    /// The settings that are changed for the replay.
    settings_field: Field,
    /// The reason why the replay failed.
    error: Option<String>,
    /// `None` before the replay.
    replayed_runs: Option<Vec<ReplayPart>>,
    /// The button that handles the request again, if the event is a request that can be repeated.
    repeat_action: Option<Action>,
}

pub(super) struct Recording {
    pub(super) runs: Vec<RecordedRun>,
    /// The time until which the connection records bodies; `None` if it does not record now.
    pub(super) recording_until: Option<RelativeTime>,
    /// The link to the page on which a person starts to record the next events of the connection.
    pub(super) record_action: Option<Action>,
}

impl Recording {
    pub(super) async fn load(app: &App, visitor: &Visitor, event: &Event) -> Result<Self, Problem> {
        let account = Extension(visitor.account.clone());
        let id = Id(event.id.to_string());
        let Json(EventRecording { runs }) =
            events::recording(State(Arc::clone(&app.0)), account, id).await?;
        let active =
            event.connection.and_then(|id| app.services.connections.active(ConnectionId(id)));
        let until = active.as_ref().and_then(|active| active.connection.recording_until);
        let until = until.filter(|_| is_recording(until, visitor.now));
        let record_action = active.map(|active| {
            let href = format!("/connections/{}/record", active.connection.id);
            Action::link(visitor, Role::Author, "Record the next events", href).primary()
        });
        let recording_until = until.map(|until| RelativeTime::new(until, visitor.now));
        Ok(Self { runs, recording_until, record_action })
    }
}

pub(super) async fn show_replay_page(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    render(&replay_page(&app, &visitor, id, &Form::default()).await?)
}

pub(super) async fn run_replay(app: App, visitor: Visitor, Id(id): Id, form: Form) -> Answer {
    let page = replay_page(&app, &visitor, id.clone(), &form).await?;
    let replayed = match replay_request(&form) {
        Ok(request) => {
            let account = Extension(visitor.account.clone());
            replay::replay(app, account, Id(id), Body(request)).await
        }
        Err(problem) => Err(problem),
    };
    match replayed {
        Ok(Json(EventReplay { runs, .. })) => {
            let runs = runs.into_iter().map(ReplayPart::new).collect();
            render(&ReplayPage { replayed_runs: Some(runs), ..page })
        }
        Err(problem) => {
            let body = problem.body(&page.layout.path);
            let errors = body.errors.iter().map(|it| format!("{}: {}", it.name, it.why));
            let error = std::iter::once(body.detail).chain(errors).collect::<Vec<_>>().join(". ");
            let page = render(&ReplayPage { error: Some(error), ..page })?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, Extension(problem.code()), page).into_response())
        }
    }
}

fn replay_request(form: &Form) -> Result<ReplayEvent, Problem> {
    let non_empty = |name: &str| Some(form.get(name).trim()).filter(|it| !it.is_empty());
    let call = non_empty("call").map(|name| {
        let call = Call::parse(name).map(EnumString);
        call.ok_or_else(|| {
            Problem::bad_request(format!("`call`: {name} is not the name of an export"))
        })
    });
    Ok(ReplayEvent {
        version: non_empty("version").map(str::to_owned),
        call: call.transpose()?,
        settings: changed_settings(form.get("settings"))?,
        for_real: false,
    })
}

/// Reads changes of settings from lines such as `project=qa`. A value that is not valid JSON is a
/// text. An empty value removes the setting.
fn changed_settings(lines: &str) -> Result<BTreeMap<String, Option<Value>>, Problem> {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let change = |line: &str| {
        let no_equals_sign =
            || Problem::bad_request(format!("{line:?} is not a line such as `project=qa`"));
        let (name, value) = line.split_once('=').ok_or_else(no_equals_sign)?;
        let value = value.trim();
        let text = || Value::String(value.to_owned());
        let value =
            (!value.is_empty()).then(|| serde_json::from_str(value).unwrap_or_else(|_| text()));
        Ok((name.trim().to_owned(), value))
    };
    lines.map(change).collect()
}

/// Makes the page without a result. Its form contains the values of `form`.
async fn replay_page(
    app: &App,
    visitor: &Visitor,
    id: String,
    form: &Form,
) -> Result<ReplayPage, Problem> {
    let account = Extension(visitor.account.clone());
    let Json(EventWithRuns { event, .. }) =
        events::show(State(Arc::clone(&app.0)), account, Id(id)).await?;
    let recording = Recording::load(app, visitor, &event).await?;
    let select = |name: &str, label, options| {
        let value = form.get(name).to_owned();
        Field::new(name, label, Control::Select { value, options })
    };
    let mut fields = Vec::new();
    if let Some(run) = recording.runs.first() {
        fields.push(
            select("version", "Version of the connector", version_options(app, run))
                .help("You can choose every version to which the connector can be rolled back."),
        );
        let option = |run: &RecordedRun| (run.call.to_string(), format!("only {}", run.call));
        let mut calls: Vec<_> = recording.runs.iter().map(option).collect();
        calls.dedup();
        if calls.len() > 1 {
            calls.insert(0, (String::new(), "all".to_owned()));
            fields.push(select("call", "Recorded calls", calls));
        }
    }
    let settings = Control::Lines { value: form.get("settings").to_owned(), rows: 3 };
    let settings = Field::new("settings", "Settings that are changed for the replay", settings)
        .help(
            "Enter one setting in each line, such as project=qa. Without a value, it is removed.",
        );
    Ok(ReplayPage {
        layout: visitor.layout(Section::Events, "Replay"),
        repeat_action: can_repeat(&event).then(|| {
            let href = format!("/events/{}/repeat", event.id);
            Action::link(visitor, Role::Operator, "Handle it again", href)
        }),
        event,
        recording,
        fields,
        settings_field: settings,
        error: None,
        replayed_runs: None,
    })
}

fn can_repeat(event: &Event) -> bool {
    let kind = event.kind.0;
    event.connection.is_some() && matches!(kind, EventKind::CreateDefect | EventKind::Kpis)
}

fn version_options(app: &App, run: &RecordedRun) -> Vec<(String, String)> {
    let short = |sha256: &str| sha256.chars().take(8).collect::<String>();
    let input = &run.input;
    let recorded =
        format!("{}, as recorded ({})", input.connector_version, short(&input.connector_sha256));
    let mut options = vec![(String::new(), recorded)];
    let mut listed = vec![input.connector_sha256.clone()];
    let plugins = &app.services.plugins;
    let newest = plugins.list().into_iter().find(|info| info.name == input.connector);
    if let Some((sha256, manifest)) = newest.and_then(|it| it.sha256.zip(it.manifest))
        && !listed.contains(&sha256)
    {
        let text = format!("{}, the newest ({})", manifest.version, short(&sha256));
        options.push(("newest".to_owned(), text));
        listed.push(sha256);
    }
    let name = input.connector.parse::<ConnectorName>();
    let kept = name.map(|name| plugins.versions(&name)).unwrap_or_default();
    for version in kept.into_iter().filter(|it| !listed.contains(&it.sha256)) {
        let used_from = jiff::Timestamp::try_from(version.used_from).ok();
        let since = used_from
            .map(|at| format!(", used from {}", at.strftime("%Y-%m-%d %H:%M UTC")))
            .unwrap_or_default();
        let text = format!("{}{since}", short(&version.sha256));
        options.push((version.sha256, text));
    }
    options
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_json_or_a_text_and_an_empty_value_removes_the_setting() {
        let changes = changed_settings(" team = blue\n\nlimit=3\nold=\nurl=http://a/?b=c").unwrap();
        let expected = [
            ("limit", Some(json!(3))),
            ("old", None),
            ("team", Some(json!("blue"))),
            ("url", Some(json!("http://a/?b=c"))),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(changes.into_iter().collect::<Vec<_>>(), expected);
        assert!(changed_settings("team").is_err());
    }
}
