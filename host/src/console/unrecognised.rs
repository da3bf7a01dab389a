//! Requests with a valid webhook URL whose method or path Jackfield does not recognise. A person
//! can map such a path to Create Defect or Defect KPIs.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use crate::api::{EnumString, Event, EventList, EventQuery, EventWithRuns, MappedKind};
use crate::connections::ConnectionError;
use crate::domain::{ConnectionId, EventKind, Role, StringEnum as _};
use crate::http::admin::connections::to_mapped_kind;
use crate::http::admin::{Id, Params, events};
use crate::http::audit::CreatedObject;
use crate::http::problem::Problem;
use crate::http::{AppState, webhook};
use crate::json::Json;

use super::confirm::ConfirmationPage;
use super::connections::find_connection;
use super::flash;
use super::form::Form;
use super::frame::Visitor;
use super::listing::{Listing, QueryValues, connection_options};
use super::page::{Layout, Section, render, render_invalid};
use super::parts::{Action, Control, Field, Pager, RelativeTime};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

const PATH: &str = "/unrecognised";

#[derive(Template)]
#[template(path = "console/unrecognised.html")]
struct UnrecognisedPage {
    layout: Layout,
    rows: Vec<RequestRow>,
    pager: Pager,
    may_read_bodies: bool,
}

struct RequestRow {
    event: Event,
    received_at: RelativeTime,
    /// Whether Jackfield would recognise this method and path now.
    is_mapped: bool,
    /// A button for each kind of request to which the path can be mapped.
    actions: Vec<Action>,
}

pub(super) async fn list_unrecognised_requests(
    State(app): App,
    visitor: Visitor,
    Query(query): Query<QueryValues>,
) -> Answer {
    let listing = Listing::new(PATH, query);
    let query = EventQuery {
        kind: Some(EnumString(EventKind::Unrecognised)),
        cursor: listing.cursor()?,
        limit: Some(20),
        ..EventQuery::default()
    };
    let account = Extension(visitor.account.clone());
    let Json(EventList { events, next }) =
        events::list(State(Arc::clone(&app)), account, Params(query)).await?;
    render(&UnrecognisedPage {
        layout: visitor.layout(Section::Events, "Unrecognised requests"),
        rows: events.into_iter().map(|it| request_row(&app, &visitor, it)).collect(),
        pager: listing.pager(next),
        may_read_bodies: visitor.account.may(Role::Operator),
    })
}

fn request_row(app: &AppState, visitor: &Visitor, event: Event) -> RequestRow {
    let active = event.connection.and_then(|id| app.services.connections.active(ConnectionId(id)));
    let (method, path) = (request_method(&event), &event.request.path);
    let is_mapped =
        active.is_some_and(|active| webhook::is_recognised(app, &active, &method, path));
    let action = |kind: MappedKind| {
        let label = match kind {
            MappedKind::CreateDefect => "It is Create Defect",
            MappedKind::Kpis => "It asks for Defect KPIs",
        };
        Action::link(visitor, Role::Admin, label, format!("{PATH}/{}/{kind}", event.id))
    };
    let actions = if is_mapped {
        Vec::new()
    } else {
        possible_kinds(&method).iter().map(|kind| action(*kind)).collect()
    };
    let received_at = RelativeTime::new(event.received_at.0, visitor.now);
    RequestRow { received_at, is_mapped, actions, event }
}

fn request_method(event: &Event) -> Method {
    event.request.method.parse().unwrap_or_default()
}

fn possible_kinds(method: &Method) -> &'static [MappedKind] {
    match *method {
        Method::GET => &[MappedKind::Kpis],
        Method::POST => &[MappedKind::CreateDefect, MappedKind::Kpis],
        Method::PUT | Method::PATCH => &[MappedKind::CreateDefect],
        _ => &[],
    }
}

/// The parameters in the path of a request.
#[derive(Debug, Deserialize)]
pub(super) struct MappingParams {
    /// The id of the event whose path is mapped.
    id: String,
    /// The kind of request to which the path is mapped.
    kind: String,
}

type MappingPath = axum::extract::Path<MappingParams>;

pub(super) async fn ask_to_map_path(
    State(app): App,
    visitor: Visitor,
    axum::extract::Path(mapping): MappingPath,
) -> Answer {
    let (event, kind) = find_mapping(&app, &visitor, &mapping).await?;
    render(&confirm_page(&app, &visitor, &event, kind, None))
}

async fn find_mapping(
    app: &Arc<AppState>,
    visitor: &Visitor,
    mapping: &MappingParams,
) -> Result<(Event, MappedKind), Problem> {
    let account = Extension(visitor.account.clone());
    let id = Id(mapping.id.clone());
    let Json(EventWithRuns { event, .. }) =
        events::show(State(Arc::clone(app)), account, id).await?;
    let kind = MappedKind::parse(&mapping.kind);
    let kind = kind.filter(|_| event.kind.0 == EventKind::Unrecognised);
    Ok((event, kind.ok_or_else(|| Problem::not_found("unrecognised request"))?))
}

/// `refused` is the sent form of a refused mapping, with the reason.
fn confirm_page(
    app: &AppState,
    visitor: &Visitor,
    event: &Event,
    kind: MappedKind,
    refused: Option<(&Form, String)>,
) -> ConfirmationPage {
    let suggested = match kind {
        MappedKind::CreateDefect => event.request.path.clone(),
        MappedKind::Kpis => webhook::kpi_template(&event.request.path),
    };
    let form = refused.as_ref().map(|it| it.0);
    let text = |name: &str, default: String| form.map_or(default, |form| form.get(name).to_owned());
    let path = Field::text("path", "Path", text("path", suggested));
    let path = match kind {
        MappedKind::CreateDefect => {
            path.help("The part of the path after the webhook URL, without a query.")
        }
        MappedKind::Kpis => path.help(
            "The part of the path after the webhook URL, without a query. Write {projectId} in the \
             position of the project's id.",
        ),
    };
    let path = Field { error: refused.as_ref().map(|it| it.1.clone()), ..path.required(true) };
    let event_connection = event.connection.map(|id| id.to_string()).unwrap_or_default();
    let options = connection_options(app, visitor);
    let connection = Control::Select { value: text("connection", event_connection), options };
    ConfirmationPage {
        layout: visitor.layout(Section::Events, format!("Map {}", event.request.path)),
        effects: describe_effects(kind),
        fields: vec![Field::new("connection", "Connection", connection), path],
        hidden_fields: Vec::new(),
        submit_href: format!("{PATH}/{}/{kind}", event.id),
        button_label: "Map the path",
        button_class: "primary",
        back_href: PATH.to_owned(),
        back_label: "Unrecognised requests".to_owned(),
    }
}

fn describe_effects(kind: MappedKind) -> Vec<String> {
    let from_now_on = match kind {
        MappedKind::CreateDefect => {
            "From now on, each POST, PUT or PATCH to this path below the connection's webhook URL is \
             Create Defect: it creates a defect in the tracker."
        }
        MappedKind::Kpis => {
            "From now on, each GET or POST to this path below the connection's webhook URL is answered \
             with the counts of defects. Nothing is created."
        }
    };
    let earlier =
        "Requests that arrived earlier are not answered again. Repeat the click in Test Manager.";
    let undo = "Other connections do not change. To undo the mapping, run jackfield export, remove the \
                path from webhook_paths in the file, and run jackfield apply.";
    [from_now_on, earlier, undo].map(str::to_owned).to_vec()
}

pub(super) async fn map_path(
    State(app): App,
    visitor: Visitor,
    axum::extract::Path(mapping): MappingPath,
    form: Form,
) -> Answer {
    let (event, kind) = find_mapping(&app, &visitor, &mapping).await?;
    let connection = find_connection(&app, &visitor, form.get("connection"))?.connection;
    let path = form.get("path").trim().to_owned();
    let connections = &app.services.connections;
    match connections.map_path(connection.id, to_mapped_kind(kind), path.clone()).await {
        Ok(_) => {
            let meaning = match kind {
                MappedKind::CreateDefect => "is Create Defect",
                MappedKind::Kpis => "asks for Defect KPIs",
            };
            let text = format!("{path} of {} {meaning} from now on.", connection.name);
            Ok((
                Extension(CreatedObject(connection.name)),
                flash::redirect_with_success(PATH, &text),
            )
                .into_response())
        }
        Err(ConnectionError::Invalid(errors)) => {
            let reasons: Vec<_> = errors.into_iter().map(|it| it.why).collect();
            let refused = Some((&form, reasons.join("; ")));
            render_invalid(&confirm_page(&app, &visitor, &event, kind, refused))
        }
        Err(error) => Err(error.into()),
    }
}
