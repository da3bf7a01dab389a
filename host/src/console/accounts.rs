//! `/accounts`: lists the named tokens, creates tokens and revokes them. The text of a token is
//! shown once, after its creation.

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
struct AccountsPage {
    page: Page,
    tokens: Vec<Row>,
    fields: Vec<Field>,
}

/// A named token as a row of the table.
struct Row {
    token: Token,
    created: When,
    last_used: Option<When>,
    expires: Option<When>,
}

pub(super) async fn show(State(app): App, visitor: Visitor) -> Answer {
    let when = |at: crate::api::Time| When::new(at.0, visitor.now);
    let row = |token: Token| Row {
        created: when(token.created_at),
        last_used: token.last_used_at.map(when),
        expires: token.expires_at.map(when),
        token,
    };
    render(&AccountsPage {
        page: visitor.page(Section::Accounts, "Accounts"),
        tokens: tokens::list_tokens(&app).await?.into_iter().map(row).collect(),
        fields: token_fields(),
    })
}

/// The fields of the form that creates a token.
fn token_fields() -> Vec<Field> {
    let option = |role: &Role| (role.as_str().to_owned(), format!("{role}: {}", role.summary()));
    let roles = Role::ALL.iter().map(option).collect();
    let role = Control::Select { value: Role::Viewer.as_str().to_owned(), options: roles };
    let lifetimes = [("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("", "no end")];
    let lifetimes = lifetimes.map(|(days, text)| (days.to_owned(), text.to_owned())).to_vec();
    let lifetime = Control::Select { value: "365".to_owned(), options: lifetimes };
    let connections = Control::Lines { value: String::new(), rows: 2 };
    vec![
        Field::text("name", "Name", "")
            .help("The person or program that uses the token. The audit log shows this name.")
            .required(true),
        Field::new("role", "Role", role),
        Field::new("connections", "Only these connections", connections).help(
            "The name of one connection in each line. Leave it empty to allow all connections.",
        ),
        Field::new("days", "Valid for", lifetime),
    ]
}

#[derive(Template)]
#[template(path = "console/token.html")]
struct TokenPage {
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
    let names = form.get("connections").lines().map(str::trim).filter(|it| !it.is_empty());
    let connections: Vec<_> = names.map(str::to_owned).collect();
    let new = CreateToken {
        name: form.get("name").trim().to_owned(),
        role: EnumString(role),
        connections: (!connections.is_empty()).then_some(connections),
        expires_in_s: form.get("days").parse::<u64>().ok().map(|days| days * DAY_S),
    };
    let CreatedToken { record, token } = tokens::issue(&app, &account, new).await?;
    let object = CreatedObject(record.name.clone());
    let page = render(&TokenPage {
        page: visitor.page(Section::Accounts, "The token was created"),
        name: record.name,
        token: token.0.reveal().to_owned(),
    });
    Ok((Extension(object), page?).into_response())
}

pub(super) async fn ask_to_revoke(State(app): App, visitor: Visitor, Id(id): Id) -> Answer {
    let token = tokens::list_tokens(&app).await?.into_iter().find(|it| it.id.to_string() == id);
    let token = token.ok_or_else(|| Problem::no_such("token", &id))?;
    render(&Confirm {
        page: visitor.page(Section::Accounts, format!("Revoke the token of {}", token.name)),
        effects: vec![
            format!("The token that ends in {} stops working at once.", token.tail),
            "Every person who signed in with the token is signed out.".to_owned(),
            "Decisions and the audit log still show the name of the token.".to_owned(),
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
    Ok(flash::redirect_done("/accounts", "The token is revoked."))
}
