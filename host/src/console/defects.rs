//! `/defects`: the defect of each failed test, in doubt first, and a person's decisions.

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
use super::listing::{Filters, Given, Listing, connections, words};
use super::page::{Page, Section, render};
use super::parts::{Action, Badge, Field, Pager, Tone, When};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

/// The decision that has a route of its own, because the audit log names it apart.
const RELEASE: &str = "release";

#[derive(Template)]
#[template(path = "console/defects.html")]
struct Defects {
    page: Page,
    /// Defects that need a decision; only on the first page without filters.
    needs: Vec<Row>,
    rows: Vec<Row>,
    filters: Filters,
    pager: Pager,
}

/// A defect as a row of the table.
struct Row {
    it: DefectRecord,
    state: Badge,
    changed: When,
}

pub(super) async fn list(State(app): App, visitor: Visitor, Query(given): Query<Given>) -> Answer {
    let listing = Listing::new("/defects", given);
    let query = DefectQuery {
        state: listing.word("state")?,
        needs_person: listing.get("needs_person") == Some("true"),
        connection: listing.get("connection").map(str::to_owned),
        cursor: listing.cursor()?,
        limit: None,
    };
    let needs = if listing.is_whole() {
        let query = DefectQuery { needs_person: true, ..DefectQuery::default() };
        read(&app, &visitor, query).await?.0
    } else {
        Vec::new()
    };
    let (rows, next) = read(&app, &visitor, query).await?;
    let filters = listing.filters(vec![
        listing.choice("state", "State", words::<DefectState>()),
        listing.choice("connection", "Connection", connections(&app, &visitor)),
        listing.choice("needs_person", "Decision", vec![("true".into(), "needed".into())]),
    ]);
    let page = visitor.page(Section::Defects, "Defects");
    render(&Defects { page, needs, rows, filters, pager: listing.pager(next) })
}

async fn read(
    app: &Arc<AppState>,
    visitor: &Visitor,
    query: DefectQuery,
) -> Result<(Vec<Row>, Option<uuid::Uuid>), Problem> {
    let account = Extension(visitor.account.clone());
    let listed = defects::list(State(Arc::clone(app)), account, Params(query)).await?;
    let Json(DefectList { defects, next }) = listed;
    let row = |it: DefectRecord| Row {
        state: state(&it),
        changed: When::new(it.updated_at.0, visitor.now),
        it,
    };
    Ok((defects.into_iter().map(row).collect(), next))
}

fn state(it: &DefectRecord) -> Badge {
    let tone = match it.state.0 {
        DefectState::Created => Tone::Ok,
        DefectState::InDoubt if it.needs_person.is_some() => Tone::Bad,
        DefectState::InDoubt => Tone::Warn,
        DefectState::Failed => Tone::Bad,
        _ => Tone::Info,
    };
    Badge::new(tone, it.state.to_string().replace('-', " "))
}

#[derive(Template)]
#[template(path = "console/defect.html")]
struct DefectPage {
    page: Page,
    it: DefectRecord,
    state: Badge,
    created: When,
    changed: When,
    decisions: Vec<(When, String)>,
    actions: Vec<Action>,
}

async fn found(app: &App, visitor: &Visitor, id: String) -> Result<DefectRecord, Problem> {
    let account = Extension(visitor.account.clone());
    let Json(it) = defects::show(State(Arc::clone(&app.0)), account, Id(id)).await?;
    Ok(it)
}

pub(super) async fn show(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    let it = found(&app, &visitor, id).await?;
    let when = |at| When::new(at, visitor.now);
    let action = |decision: &'static str, label| {
        let href = format!("/defects/{}/{decision}", it.id);
        Action::link(&visitor, Role::Operator, label, href)
    };
    let actions = match it.state.0 {
        DefectState::Created => vec![action(RELEASE, "Release")],
        DefectState::InDoubt | DefectState::Failed => vec![
            action("adopt", "Adopt").primary(),
            action("retry", "Retry"),
            action("give-up", "Give up"),
        ],
        _ => Vec::new(),
    };
    let decision =
        |it: &crate::api::Decision| (when(it.at.0), format!("{} by {}", it.decision, it.by));
    render(&DefectPage {
        page: visitor.page(Section::Defects, title(&it)),
        state: state(&it),
        created: when(it.created_at.0),
        changed: when(it.updated_at.0),
        decisions: it.decisions.iter().map(decision).collect(),
        actions,
        it,
    })
}

/// What a defect is called: its key and title in the tracker, else its test case.
fn title(it: &DefectRecord) -> String {
    match &it.defect {
        Some(defect) => format!("{} {}", defect.key, defect.title),
        None => format!("Test case {}", it.test_case_id),
    }
}

/// A decision that a person may make, and what it means.
struct Choice {
    word: &'static str,
    title: &'static str,
    button: &'static str,
    effects: &'static [&'static str],
}

const CHOICES: [Choice; 4] = [
    Choice {
        word: "adopt",
        title: "Adopt",
        button: "Adopt this defect",
        effects: &[
            "The defect that you name becomes the defect of the failed test.",
            "Each later click in Test Manager answers with it. Nothing is created.",
        ],
    },
    Choice {
        word: "retry",
        title: "Retry",
        button: "Retry at the next click",
        effects: &[
            "The wait is over: the next click in Test Manager searches the tracker, and creates the defect if \
             the search finds none.",
            "If the tracker has the defect but its search does not find it, a second one is created.",
        ],
    },
    Choice {
        word: "give-up",
        title: "Give up on",
        button: "The tracker does not have it",
        effects: &[
            "You say that the tracker does not have the defect.",
            "The next click in Test Manager creates it, after a last search if the connector can search.",
        ],
    },
    Choice {
        word: RELEASE,
        title: "Release",
        button: "Release it",
        effects: &[
            "The next click in Test Manager for this failed test creates another defect, once.",
            "The current defect stays in the tracker as it is.",
        ],
    },
];

fn choice_of(word: &str) -> Result<&'static Choice, Problem> {
    CHOICES.iter().find(|it| it.word == word).ok_or_else(|| Problem::no_such("decision", word))
}

pub(super) async fn ask_to_release(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    ask_about(app, visitor, id, RELEASE.to_owned()).await
}

pub(super) async fn ask(
    app: App,
    visitor: Visitor,
    axum::extract::Path((id, word)): axum::extract::Path<(String, String)>,
) -> Answer {
    ask_about(app, visitor, id, word).await
}

async fn ask_about(app: App, visitor: Visitor, id: String, word: String) -> Answer {
    let (it, choice) = (found(&app, &visitor, id).await?, choice_of(&word)?);
    let fields = if choice.word == "adopt" {
        vec![
            Field::text("key", "Key in the tracker", "").required(true).help("Such as QA-123."),
            Field::text("link", "Link", "").help("Its page. Empty: the tracker's address."),
        ]
    } else {
        Vec::new()
    };
    let back = format!("/defects/{}", it.id);
    render(&Confirm {
        page: visitor.page(Section::Defects, format!("{} {}", choice.title, title(&it))),
        effects: choice.effects.iter().map(|it| (*it).to_owned()).collect(),
        fields,
        hidden: Vec::new(),
        action: format!("{back}/{word}"),
        button: choice.button,
        tone: "primary",
        back,
        back_label: title(&it),
    })
}

pub(super) async fn decide(
    app: App,
    visitor: Visitor,
    axum::extract::Path((id, word)): axum::extract::Path<(String, String)>,
    form: Result<Form, Problem>,
) -> Answer {
    let choice = choice_of(&word)?;
    found(&app, &visitor, id.clone()).await?;
    let form = form?;
    let account = Extension(visitor.account.clone());
    let link = form.get("link").trim();
    let body = ResolveDefect {
        adopt: (choice.word == "adopt").then(|| form.get("key").to_owned()),
        link: Some(link.to_owned()).filter(|link| !link.is_empty()),
        title: None,
        retry: choice.word == "retry",
        give_up: choice.word == "give-up",
    };
    let decided = defects::resolve(app, account, Id(id.clone()), Body(body)).await?;
    Ok(stored(&id, &decided.0.state.to_string()))
}

/// A decision of its own in the audit log.
pub(super) async fn release(app: App, visitor: Visitor, Id(id): Id) -> Answer {
    found(&app, &visitor, id.clone()).await?;
    let account = Extension(visitor.account.clone());
    let released = defects::release(app, account, Id(id.clone()), Body(EmptyBody {})).await?;
    Ok(stored(&id, &released.0.state.to_string()))
}

fn stored(id: &str, state: &str) -> Response {
    flash::done(&format!("/defects/{id}"), &format!("The decision is stored: {state}."))
}
