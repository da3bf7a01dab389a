//! The page that lists, creates and revokes named tokens. The text of a token is shown only once,
//! after its creation.

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

use super::confirm::ConfirmationPage;
use super::flash;
use super::form::Form;
use super::frame::Visitor;
use super::page::{Layout, Section, render};
use super::parts::{Control, Field, RelativeTime};

const DAY_S: u64 = 24 * 60 * 60;

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "console/accounts.html")]
struct AccountsPage {
    layout: Layout,
    tokens: Vec<TokenRow>,
    /// The fields of the form that creates a token.
    fields: Vec<Field>,
}

struct TokenRow {
    token: Token,
    created_at: RelativeTime,
    last_used_at: Option<RelativeTime>,
    expires_at: Option<RelativeTime>,
}

pub(super) async fn show_accounts(State(app): App, visitor: Visitor) -> Answer {
    let when = |at: crate::api::Time| RelativeTime::new(at.0, visitor.now);
    let row = |token: Token| TokenRow {
        created_at: when(token.created_at),
        last_used_at: token.last_used_at.map(when),
        expires_at: token.expires_at.map(when),
        token,
    };
    render(&AccountsPage {
        layout: visitor.layout(Section::Accounts, "Accounts"),
        tokens: tokens::list_tokens(&app).await?.into_iter().map(row).collect(),
        fields: token_fields(),
    })
}

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
    layout: Layout,
    name: String,
    token: String,
}

pub(super) async fn create_token(
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
        layout: visitor.layout(Section::Accounts, "The token was created"),
        name: record.name,
        token: token.0.reveal().to_owned(),
    });
    Ok((Extension(object), page?).into_response())
}

pub(super) async fn ask_to_revoke_token(State(app): App, visitor: Visitor, Id(id): Id) -> Answer {
    let token = tokens::list_tokens(&app).await?.into_iter().find(|it| it.id.to_string() == id);
    let token = token.ok_or_else(|| Problem::no_such("token", &id))?;
    render(&ConfirmationPage {
        layout: visitor.layout(Section::Accounts, format!("Revoke the token of {}", token.name)),
        effects: vec![
            format!("The token that ends in {} stops working at once.", token.tail),
            "Every person who signed in with the token is signed out.".to_owned(),
            "The audit log and the decisions about defects still show the name of the token."
                .to_owned(),
        ],
        fields: Vec::new(),
        hidden_fields: Vec::new(),
        submit_href: format!("/accounts/{id}/revoke"),
        button_label: "Revoke",
        button_class: "danger",
        back_href: "/accounts".to_owned(),
        back_label: "Accounts".to_owned(),
    })
}

pub(super) async fn revoke_token(State(app): App, id: Id, _: Form) -> Answer {
    tokens::revoke(State(app), id).await?;
    Ok(flash::redirect_with_success("/accounts", "The token is revoked."))
}
