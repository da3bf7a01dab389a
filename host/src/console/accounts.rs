//! `/accounts`: the named tokens, to create and revoke them. A token is shown once.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use crate::api::{CreateToken, CreatedToken, EnumString, Token};
use crate::domain::{Account, Role, StringEnum as _};
use crate::http::AppState;
use crate::http::admin::{Id, tokens};
use crate::http::audit::CreatedObject;
use crate::http::problem::Problem;

use super::confirm::Confirm;
use super::flash;
use super::form::Form;
use super::frame::Visitor;
use super::page::{Page, Section, render};
use super::parts::{Control, Field, When};

const DAY_S: u64 = 24 * 60 * 60;

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "console/accounts.html")]
struct Accounts {
    page: Page,
    tokens: Vec<Row>,
    fields: Vec<Field>,
}

/// A named token as a row of the table.
struct Row {
    it: Token,
    created: When,
    used: Option<When>,
    expires: Option<When>,
}

pub(super) async fn show(State(app): App, visitor: Visitor) -> Answer {
    let when = |at: crate::api::Time| When::new(at.0, visitor.now);
    let row = |it: Token| Row {
        created: when(it.created_at),
        used: it.last_used_at.map(when),
        expires: it.expires_at.map(when),
        it,
    };
    render(&Accounts {
        page: visitor.page(Section::Accounts, "Accounts"),
        tokens: tokens::all(&app).await?.into_iter().map(row).collect(),
        fields: fields(),
    })
}

fn fields() -> Vec<Field> {
    let role = |role: &Role| (role.as_str().to_owned(), format!("{role}: {}", role.summary()));
    let roles = Role::ALL.iter().map(role).collect();
    let role = Control::Select { value: Role::Viewer.as_str().to_owned(), options: roles };
    let days = [("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("", "no end")];
    let days = days.map(|(value, text)| (value.to_owned(), text.to_owned())).to_vec();
    let lifetime = Control::Select { value: "365".to_owned(), options: days };
    let connections = Control::Lines { value: String::new(), rows: 2 };
    vec![
        Field::text("name", "Name", "")
            .help("Of the person or the program; the audit log and decisions show it.")
            .required(true),
        Field::new("role", "Role", role),
        Field::new("connections", "Only these connections", connections)
            .help("One name in each line. Empty: all."),
        Field::new("days", "Valid for", lifetime),
    ]
}

#[derive(Template)]
#[template(path = "console/token.html")]
struct Issued {
    page: Page,
    name: String,
    token: String,
}

pub(super) async fn create(
    State(app): App,
    Extension(account): Extension<Account>,
    visitor: Visitor,
    form: Form,
) -> Answer {
    let role = Role::parse(form.get("role"));
    let role = role.ok_or_else(|| Problem::invalid_value("role", "choose one of the roles"))?;
    let lines = form.get("connections").lines().map(str::trim).filter(|it| !it.is_empty());
    let connections: Vec<_> = lines.map(str::to_owned).collect();
    let new = CreateToken {
        name: form.get("name").trim().to_owned(),
        role: EnumString(role),
        connections: (!connections.is_empty()).then_some(connections),
        expires_in_s: form.get("days").parse::<u64>().ok().map(|days| days * DAY_S),
    };
    let CreatedToken { record, token } = tokens::issue(&app, &account, new).await?;
    let object = CreatedObject(record.name.clone());
    let page = render(&Issued {
        page: visitor.page(Section::Accounts, "The token was created"),
        name: record.name,
        token: token.0.reveal().to_owned(),
    });
    Ok((Extension(object), page?).into_response())
}

pub(super) async fn ask_to_revoke(State(app): App, visitor: Visitor, Id(id): Id) -> Answer {
    let found = tokens::all(&app).await?.into_iter().find(|it| it.id.to_string() == id);
    let found = found.ok_or_else(|| Problem::no_such("token", &id))?;
    render(&Confirm {
        page: visitor.page(Section::Accounts, format!("Revoke the token of {}", found.name)),
        effects: vec![
            format!("The token that ends in {} stops working at once.", found.tail),
            "Whoever signed in with it is signed out.".to_owned(),
            "Decisions and entries of the audit log keep the name.".to_owned(),
        ],
        fields: Vec::new(),
        hidden: Vec::new(),
        action: format!("/accounts/{id}/revoke"),
        button: "Revoke",
        tone: "danger",
        back: "/accounts".to_owned(),
        back_label: "Accounts".to_owned(),
    })
}

pub(super) async fn revoke(State(app): App, id: Id, _: Form) -> Answer {
    tokens::revoke(State(app), id).await?;
    Ok(flash::done("/accounts", "The token is revoked."))
}
