//! `/defects`: lists the defect of each failed test, those that need a decision first. A page for
//! each defect lets a person make the decision.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::{Extension, Json};

use crate::api::{DefectList, DefectQuery, DefectRecord, EmptyBody, ResolveDefect};
use crate::domain::{DefectState, Role};
use crate::http::AppState;
use crate::http::admin::{Body, Id, Params, defects};
use crate::http::problem::Problem;

use super::confirm::Confirm;
use super::flash;
use super::form::Form;
use super::frame::Visitor;
use super::listing::{Filters, Listing, QueryValues, connection_options, enum_options};
use super::page::{Page, Section, render};
use super::parts::{Action, Badge, Field, Pager, Tone, When};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

/// This decision has a route of its own, because the audit log records it as another action.
const RELEASE: &str = "release";

#[derive(Template)]
#[template(path = "console/defects.html")]
struct DefectsPage {
    page: Page,
    /// Defects that need a decision. They are shown only on the first page without filters.
    needing_decision: Vec<Row>,
    rows: Vec<Row>,
    filters: Filters,
    pager: Pager,
}

/// A defect as a row of the table.
struct Row {
    record: DefectRecord,
    state: Badge,
    changed: When,
}

pub(super) async fn list(
    State(app): App,
    visitor: Visitor,
    Query(query): Query<QueryValues>,
) -> Answer {
    let listing = Listing::new("/defects", query);
    let query = DefectQuery {
        state: listing.enum_filter("state")?,
        needs_person: listing.get("needs_person") == Some("true"),
        connection: listing.get("connection").map(str::to_owned),
        cursor: listing.cursor()?,
        limit: None,
    };
    let needing_decision = if listing.is_first_page_without_filters() {
        let query = DefectQuery { needs_person: true, ..DefectQuery::default() };
        read_rows(&app, &visitor, query).await?.0
    } else {
        Vec::new()
    };
    let (rows, next) = read_rows(&app, &visitor, query).await?;
    let filters = listing.filters(vec![
        listing.select("state", "State", enum_options::<DefectState>()),
        listing.select("connection", "Connection", connection_options(&app, &visitor)),
        listing.select("needs_person", "Decision", vec![("true".into(), "needed".into())]),
    ]);
    let page = visitor.page(Section::Defects, "Defects");
    render(&DefectsPage { page, needing_decision, rows, filters, pager: listing.pager(next) })
}

/// The rows of one page, and the cursor of the next page.
async fn read_rows(
    app: &Arc<AppState>,
    visitor: &Visitor,
    query: DefectQuery,
) -> Result<(Vec<Row>, Option<uuid::Uuid>), Problem> {
    let account = Extension(visitor.account.clone());
    let listed = defects::list(State(Arc::clone(app)), account, Params(query)).await?;
    let Json(DefectList { defects, next }) = listed;
    let row = |record: DefectRecord| Row {
        state: state_badge(&record),
        changed: When::new(record.updated_at.0, visitor.now),
        record,
    };
    Ok((defects.into_iter().map(row).collect(), next))
}

fn state_badge(record: &DefectRecord) -> Badge {
    let tone = match record.state.0 {
        DefectState::Created => Tone::Ok,
        DefectState::InDoubt if record.needs_person.is_some() => Tone::Bad,
        DefectState::InDoubt => Tone::Warn,
        DefectState::Failed => Tone::Bad,
        _ => Tone::Info,
    };
    Badge::new(tone, record.state.to_string().replace('-', " "))
}

#[derive(Template)]
#[template(path = "console/defect.html")]
struct DefectPage {
    page: Page,
    record: DefectRecord,
    state: Badge,
    created: When,
    changed: When,
    decisions: Vec<(When, String)>,
    actions: Vec<Action>,
}

async fn find_record(app: &App, visitor: &Visitor, id: String) -> Result<DefectRecord, Problem> {
    let account = Extension(visitor.account.clone());
    let Json(record) = defects::show(State(Arc::clone(&app.0)), account, Id(id)).await?;
    Ok(record)
}

pub(super) async fn show(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    let record = find_record(&app, &visitor, id).await?;
    let when = |at| When::new(at, visitor.now);
    let action = |decision: &'static str, label| {
        let href = format!("/defects/{}/{decision}", record.id);
        Action::link(&visitor, Role::Operator, label, href)
    };
    let actions = match record.state.0 {
        DefectState::Created => vec![action(RELEASE, "Release")],
        DefectState::InDoubt | DefectState::Failed => vec![
            action("adopt", "Adopt").primary(),
            action("retry", "Retry"),
            action("give-up", "Give up"),
        ],
        _ => Vec::new(),
    };
    let decision_text =
        |it: &crate::api::Decision| (when(it.at.0), format!("{} by {}", it.decision, it.by));
    render(&DefectPage {
        page: visitor.page(Section::Defects, title(&record)),
        state: state_badge(&record),
        created: when(record.created_at.0),
        changed: when(record.updated_at.0),
        decisions: record.decisions.iter().map(decision_text).collect(),
        actions,
        record,
    })
}

/// The title of a defect's page: the key and title of the defect in the tracker, or if it has none,
/// the id of the test case.
fn title(record: &DefectRecord) -> String {
    match &record.defect {
        Some(defect) => format!("{} {}", defect.key, defect.title),
        None => format!("Test case {}", record.test_case_id),
    }
}

/// A decision that a person can make about a defect, and its effects.
struct Decision {
    name: &'static str,
    title: &'static str,
    button: &'static str,
    effects: &'static [&'static str],
}

const DECISIONS: [Decision; 4] = [
    Decision {
        name: "adopt",
        title: "Adopt",
        button: "Adopt this defect",
        effects: &[
            "The defect that you enter here becomes the defect of the failed test.",
            "Each later click in Test Manager is answered with this defect. Nothing is created.",
        ],
    },
    Decision {
        name: "retry",
        title: "Retry",
        button: "Retry at the next click",
        effects: &[
            "Jackfield no longer waits: the next click in Test Manager searches the tracker, and creates the \
             defect if the search does not find it.",
            "If the tracker has the defect but the search does not find it, a second defect is created.",
        ],
    },
    Decision {
        name: "give-up",
        title: "Give up on",
        button: "The tracker does not have it",
        effects: &[
            "You confirm that the tracker does not have the defect.",
            "The next click in Test Manager creates the defect. If the connector can search, it first searches \
             the tracker once more.",
        ],
    },
    Decision {
        name: RELEASE,
        title: "Release",
        button: "Release it",
        effects: &[
            "The next click in Test Manager for this failed test creates another defect, once.",
            "The current defect stays in the tracker as it is.",
        ],
    },
];

fn find_decision(name: &str) -> Result<&'static Decision, Problem> {
    DECISIONS.iter().find(|it| it.name == name).ok_or_else(|| Problem::no_such("decision", name))
}

pub(super) async fn ask_to_release(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    confirm_page(app, visitor, id, RELEASE.to_owned()).await
}

pub(super) async fn ask(
    app: App,
    visitor: Visitor,
    axum::extract::Path((id, name)): axum::extract::Path<(String, String)>,
) -> Answer {
    confirm_page(app, visitor, id, name).await
}

/// The page that asks a person to confirm the decision `name`.
async fn confirm_page(app: App, visitor: Visitor, id: String, name: String) -> Answer {
    let (record, decision) = (find_record(&app, &visitor, id).await?, find_decision(&name)?);
    let fields = if decision.name == "adopt" {
        vec![
            Field::text("key", "Key in the tracker", "").required(true).help("For example QA-123."),
            Field::text("link", "Link", "").help(
                "The address of the defect. Leave it empty to use the address of the tracker.",
            ),
        ]
    } else {
        Vec::new()
    };
    let back = format!("/defects/{}", record.id);
    render(&Confirm {
        page: visitor.page(Section::Defects, format!("{} {}", decision.title, title(&record))),
        effects: decision.effects.iter().map(|it| (*it).to_owned()).collect(),
        fields,
        hidden: Vec::new(),
        action: format!("{back}/{name}"),
        button: decision.button,
        tone: "primary",
        back,
        back_label: title(&record),
    })
}

pub(super) async fn decide(
    app: App,
    visitor: Visitor,
    axum::extract::Path((id, name)): axum::extract::Path<(String, String)>,
    form: Result<Form, Problem>,
) -> Answer {
    let decision = find_decision(&name)?;
    // A defect that the visitor may not see is reported as not found, even if the form is wrong.
    find_record(&app, &visitor, id.clone()).await?;
    let form = form?;
    let account = Extension(visitor.account.clone());
    let link = form.get("link").trim();
    let body = ResolveDefect {
        adopt: (decision.name == "adopt").then(|| form.get("key").to_owned()),
        link: Some(link.to_owned()).filter(|link| !link.is_empty()),
        title: None,
        retry: decision.name == "retry",
        give_up: decision.name == "give-up",
    };
    let resolved = defects::resolve(app, account, Id(id.clone()), Body(body)).await?;
    Ok(decision_stored(&id, &resolved.0.state.to_string()))
}

/// Releases a defect, so that the next click creates another one. The audit log records this as the
/// action `defect.release`.
pub(super) async fn release(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    find_record(&app, &visitor, id.clone()).await?;
    let account = Extension(visitor.account.clone());
    let released = defects::release(app, account, Id(id.clone()), Body(EmptyBody {})).await?;
    Ok(decision_stored(&id, &released.0.state.to_string()))
}

/// Leads to the page of the defect, which shows that the decision was stored.
fn decision_stored(id: &str, state: &str) -> Response {
    flash::redirect_done(&format!("/defects/{id}"), &format!("The decision is stored: {state}."))
}
