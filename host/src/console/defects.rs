//! The pages that list defects, show a defect, and let a person decide about it.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;

use crate::api::{DefectList, DefectQuery, DefectRecord, EmptyBody, ResolveDefect};
use crate::domain::{DefectState, Role};
use crate::http::AppState;
use crate::http::admin::{Body, Id, Params, defects};
use crate::http::problem::Problem;
use crate::json::Json;

use super::confirm::ConfirmationPage;
use super::flash;
use super::form::Form;
use super::frame::Visitor;
use super::listing::{FilterForm, Listing, QueryValues, connection_options, enum_options};
use super::page::{Layout, Section, render};
use super::parts::{Action, Badge, Field, Pager, RelativeTime, Tone};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

/// The decision that has its own route, because the audit log records it as `defect.release`.
const RELEASE: &str = "release";

#[derive(Template)]
#[template(path = "console/defects.html")]
struct DefectsPage {
    layout: Layout,
    /// Shown only on the first page without filters.
    undecided_rows: Vec<DefectRow>,
    rows: Vec<DefectRow>,
    filters: FilterForm,
    pager: Pager,
}

struct DefectRow {
    record: DefectRecord,
    state: Badge,
    changed_at: RelativeTime,
}

pub(super) async fn list_defects(
    State(app): App,
    visitor: Visitor,
    Query(query): Query<QueryValues>,
) -> Answer {
    let listing = Listing::new("/defects", query);
    let query = DefectQuery {
        state: listing.parse_enum_filter("state")?,
        needs_person: listing.get("needs_person") == Some("true"),
        connection: listing.get("connection").map(str::to_owned),
        cursor: listing.cursor()?,
        limit: None,
    };
    let undecided_rows = if listing.is_first_page_without_filters() {
        let query = DefectQuery { needs_person: true, ..DefectQuery::default() };
        read_rows(&app, &visitor, query).await?.0
    } else {
        Vec::new()
    };
    let (rows, next) = read_rows(&app, &visitor, query).await?;
    let filters = listing.filter_form(vec![
        listing.select_filter("state", "State", enum_options::<DefectState>()),
        listing.select_filter("connection", "Connection", connection_options(&app, &visitor)),
        listing.select_filter("needs_person", "Decision", vec![("true".into(), "needed".into())]),
    ]);
    let layout = visitor.layout(Section::Defects, "Defects");
    render(&DefectsPage { layout, undecided_rows, rows, filters, pager: listing.pager(next) })
}

/// Returns the rows of one page of the list, and the cursor of the next page.
async fn read_rows(
    app: &Arc<AppState>,
    visitor: &Visitor,
    query: DefectQuery,
) -> Result<(Vec<DefectRow>, Option<uuid::Uuid>), Problem> {
    let account = Extension(visitor.account.clone());
    let listed = defects::list(State(Arc::clone(app)), account, Params(query)).await?;
    let Json(DefectList { defects, next }) = listed;
    let row = |record: DefectRecord| DefectRow {
        state: state_badge(&record),
        changed_at: RelativeTime::new(record.updated_at.0, visitor.now),
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
    layout: Layout,
    record: DefectRecord,
    state: Badge,
    created_at: RelativeTime,
    changed_at: RelativeTime,
    /// The time and a description of each decision.
    decisions: Vec<(RelativeTime, String)>,
    /// The end of the lease; `None` if no event has a valid lease.
    in_work_until: Option<RelativeTime>,
    /// The links to the confirmation pages of the decisions.
    actions: Vec<Action>,
}

async fn find_record(app: &App, visitor: &Visitor, id: String) -> Result<DefectRecord, Problem> {
    let account = Extension(visitor.account.clone());
    let Json(record) = defects::show(State(Arc::clone(&app.0)), account, Id(id)).await?;
    Ok(record)
}

pub(super) async fn show_defect(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    let record = find_record(&app, &visitor, id).await?;
    let when = |at| RelativeTime::new(at, visitor.now);
    let action = |decision: &'static str, label| {
        let href = format!("/defects/{}/{decision}", record.id);
        Action::link(&visitor, Role::Operator, label, href)
    };
    let (release, adopt) = (action(RELEASE, "Release"), action("adopt", "Adopt").primary());
    let leased_until = record.leased_until.filter(|until| until.0 > visitor.now);
    let actions = match record.state.0 {
        _ if record.released || leased_until.is_some() => Vec::new(),
        DefectState::Created => vec![release],
        DefectState::Failed if record.needs_person.is_none() => vec![adopt, release],
        // A row in `sent` without a lease is in doubt, even if no search has moved it yet.
        DefectState::InDoubt | DefectState::Sent | DefectState::Failed => {
            vec![adopt, action("retry", "Retry"), action("give-up", "Give up")]
        }
        _ => Vec::new(),
    };
    let decision_text =
        |it: &crate::api::Decision| (when(it.at.0), format!("{} by {}", it.decision, it.by));
    render(&DefectPage {
        layout: visitor.layout(Section::Defects, page_title(&record)),
        state: state_badge(&record),
        created_at: when(record.created_at.0),
        changed_at: when(record.updated_at.0),
        in_work_until: leased_until.map(|until| when(until.0)),
        decisions: record.decisions.iter().map(decision_text).collect(),
        actions,
        record,
    })
}

fn page_title(record: &DefectRecord) -> String {
    match &record.defect {
        Some(defect) => format!("{} {}", defect.key, defect.title),
        None => format!("Test case {}", record.test_case_id),
    }
}

struct Decision {
    /// The name in addresses.
    name: &'static str,
    /// The start of the title of the confirmation page.
    title: &'static str,
    button_label: &'static str,
    /// Sentences for the confirmation page.
    effects: &'static [&'static str],
}

const DECISIONS: [Decision; 4] = [
    Decision {
        name: "adopt",
        title: "Adopt",
        button_label: "Adopt this defect",
        effects: &[
            "The defect that you enter here becomes the defect of the failed test.",
            "Each later click in Test Manager is answered with this defect. Nothing is created.",
        ],
    },
    Decision {
        name: "retry",
        title: "Retry",
        button_label: "Retry at the next click",
        effects: &[
            "Jackfield no longer waits for `create.in_doubt_s`: after the index delay, the next click in \
             Test Manager searches the tracker, and creates the defect if the search does not find it.",
            "If the tracker has the defect but the search does not find it, a second defect is created.",
        ],
    },
    Decision {
        name: "give-up",
        title: "Give up on",
        button_label: "The tracker does not have it",
        effects: &[
            "You confirm that the tracker does not have the defect.",
            "The next click in Test Manager creates the defect. If the connector can search, it first searches \
             the tracker once more.",
        ],
    },
    Decision {
        name: RELEASE,
        title: "Release",
        button_label: "Release it",
        effects: &[
            "The next click in Test Manager for this failed test creates another defect, once.",
            "The current defect stays in the tracker as it is.",
        ],
    },
];

fn find_decision(name: &str) -> Result<&'static Decision, Problem> {
    DECISIONS.iter().find(|it| it.name == name).ok_or_else(|| Problem::no_such("decision", name))
}

pub(super) async fn ask_to_release_defect(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    confirm_page(app, visitor, id, RELEASE.to_owned()).await
}

pub(super) async fn ask_to_decide(
    app: App,
    visitor: Visitor,
    axum::extract::Path((id, name)): axum::extract::Path<(String, String)>,
) -> Answer {
    confirm_page(app, visitor, id, name).await
}

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
    render(&ConfirmationPage {
        layout: visitor
            .layout(Section::Defects, format!("{} {}", decision.title, page_title(&record))),
        effects: decision.effects.iter().map(|it| (*it).to_owned()).collect(),
        fields,
        hidden_fields: Vec::new(),
        submit_href: format!("{back}/{name}"),
        button_label: decision.button_label,
        button_class: "primary",
        back_href: back,
        back_label: page_title(&record),
    })
}

pub(super) async fn store_decision(
    app: App,
    visitor: Visitor,
    axum::extract::Path((id, name)): axum::extract::Path<(String, String)>,
    form: Result<Form, Problem>,
) -> Answer {
    let decision = find_decision(&name)?;
    // A visitor who may not see the defect gets "not found", even if the form is wrong.
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
    Ok(redirect_to_defect(&id, &resolved.0.state.to_string()))
}

/// Releases a defect: the next click creates another defect for the same failed test.
pub(super) async fn release_defect(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    find_record(&app, &visitor, id.clone()).await?;
    let account = Extension(visitor.account.clone());
    let released = defects::release(app, account, Id(id.clone()), Body(EmptyBody {})).await?;
    Ok(redirect_to_defect(&id, &released.0.state.to_string()))
}

fn redirect_to_defect(id: &str, state: &str) -> Response {
    flash::redirect_with_success(
        &format!("/defects/{id}"),
        &format!("The decision is stored: {state}."),
    )
}
