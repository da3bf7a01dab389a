//! Handlers of `/api/v1/defects`, which list the defects of failed tests, and carry out the
//! decisions of people about defects. They never send a request to a tracker.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use uuid::Uuid;

use crate::api::{DefectList, DefectQuery, DefectRecord, EmptyBody, ResolveDefect};
use crate::domain::{self, Account, ConnectionId, Decision, Defect, DefectId, is_web_address};
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::json::Json;
use crate::store::DefectFilter;

use super::{
    Body, Id, Params, connection_names, page_size, truncate_to_page, visible_connection_id,
};

type App = State<Arc<AppState>>;
type SignedInAccount = Extension<Account>;

/// Answers `GET /defects`.
pub(crate) async fn list(
    State(app): App,
    Extension(account): SignedInAccount,
    Params(query): Params<DefectQuery>,
) -> Result<Json<DefectList>, Problem> {
    let size = page_size(query.limit)?;
    let connection = query.connection.map(|name| visible_connection_id(&app, &account, &name));
    let filter = DefectFilter {
        state: query.state.map(|state| state.0),
        needs_person: query.needs_person,
        connection: connection.transpose()?,
        connections: account.connections.clone(),
        before: query.cursor.map(DefectId),
        limit: size + 1,
    };
    let defects = app.services.store.defects(&filter).await?;
    let (defects, next) = truncate_to_page(defects, size, |record| record.id.0);
    let names = connection_names(&app);
    let name = |id: &ConnectionId| names.get(id).cloned();
    let defects = defects.iter().map(|record| DefectRecord::new(record, name(&record.connection)));
    Ok(Json(DefectList { defects: defects.collect(), next }))
}

/// Answers `GET /defects/{id}`.
pub(crate) async fn show(
    State(app): App,
    Extension(account): SignedInAccount,
    Id(id): Id,
) -> Result<Json<DefectRecord>, Problem> {
    let record = find_visible_defect(&app, &account, &id).await?;
    Ok(to_json_record(&app, &record))
}

/// Answers `POST /defects/{id}/resolve`.
pub(crate) async fn resolve(
    State(app): App,
    Extension(account): SignedInAccount,
    Id(id): Id,
    Body(body): Body<ResolveDefect>,
) -> Result<Json<DefectRecord>, Problem> {
    let record = find_visible_defect(&app, &account, &id).await?;
    let active = app.services.connections.active(record.connection);
    let tracker = active.as_ref().and_then(|active| active.connection.grants.origins.first());
    let decision = read_decision(body, tracker.map(ToString::to_string).as_deref())?;
    decide(&app, &account, record.id, &decision).await
}

/// Answers `POST /defects/{id}/release`.
pub(crate) async fn release(
    State(app): App,
    Extension(account): SignedInAccount,
    Id(id): Id,
    Body(EmptyBody {}): Body<EmptyBody>,
) -> Result<Json<DefectRecord>, Problem> {
    let record = find_visible_defect(&app, &account, &id).await?;
    decide(&app, &account, record.id, &Decision::Release).await
}

async fn decide(
    app: &AppState,
    account: &Account,
    id: DefectId,
    decision: &Decision,
) -> Result<Json<DefectRecord>, Problem> {
    let decided = app.services.defects.decide(id, decision, &account.name).await?;
    Ok(to_json_record(app, &decided))
}

/// Reads the row of a defect. A defect that the account may not see is not found.
pub(crate) async fn find_visible_defect(
    app: &AppState,
    account: &Account,
    id: &str,
) -> Result<domain::DefectRecord, Problem> {
    let no_such_defect = || Problem::no_such("defect", id);
    let defect = DefectId(Uuid::parse_str(id).map_err(|_| no_such_defect())?);
    let found = app.services.store.defect(defect).await?;
    found.filter(|record| account.sees(record.connection)).ok_or_else(no_such_defect)
}

fn to_json_record(app: &AppState, record: &domain::DefectRecord) -> Json<DefectRecord> {
    let name = connection_names(app).remove(&record.connection);
    Json(DefectRecord::new(record, name))
}

/// Reads the decision from the body of a request. `tracker` is the first origin that is granted to
/// the connection. It becomes the link of an adopted defect if the body contains no link, because
/// the host has no other address.
fn read_decision(body: ResolveDefect, tracker: Option<&str>) -> Result<Decision, Problem> {
    let key = body.adopt.as_deref().map(str::trim);
    match (key, body.retry, body.give_up) {
        (Some(key), false, false) if (1..=Defect::KEY_BYTES_MAX).contains(&key.len()) => {
            let link = match (&body.link, tracker) {
                (Some(link), _) => checked_link(link)?,
                (None, Some(tracker)) => tracker.to_owned(),
                (None, None) => {
                    let why = "the address of the tracker is not known: add the defect's `link`";
                    return Err(Problem::bad_request(why));
                }
            };
            Ok(Decision::Adopt(Defect {
                title: body.title.unwrap_or_else(|| key.to_owned()),
                link,
                key: key.to_owned(),
                status: None,
                priority: None,
                description: None,
            }))
        }
        (Some(_), false, false) => Err(Problem::bad_request(format!(
            "`adopt` must be a key of 1 to {} bytes",
            Defect::KEY_BYTES_MAX
        ))),
        (None, true, false) => Ok(Decision::Retry),
        (None, false, true) => Ok(Decision::GiveUp),
        _ => Err(Problem::bad_request(
            "send exactly one decision: {\"adopt\":\"KEY\"}, {\"retry\":true} or {\"give_up\":true}",
        )),
    }
}

fn checked_link(text: &str) -> Result<String, Problem> {
    if is_web_address(text) {
        return Ok(text.to_owned());
    }
    let why = format!("`link` must be an http or https address, found {text:?}");
    Err(Problem::bad_request(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_body(text: &str) -> Result<Decision, Problem> {
        read_decision(serde_json::from_str(text).unwrap(), Some("https://t.example"))
    }

    #[test]
    fn a_body_must_contain_exactly_one_decision() {
        assert_eq!(read_body(r#"{"retry":true}"#), Ok(Decision::Retry));
        assert_eq!(read_body(r#"{"give_up":true}"#), Ok(Decision::GiveUp));
        for wrong in [
            "{}",
            r#"{"retry":false}"#,
            r#"{"adopt":" "}"#,
            r#"{"adopt":"A","retry":true}"#,
            r#"{"adopt":"A","link":"javascript:x"}"#,
        ] {
            assert!(read_body(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_defect_that_is_adopted_without_a_link_gets_the_address_of_the_tracker() {
        let Ok(Decision::Adopt(defect)) = read_body(r#"{"adopt":" QA-7 "}"#) else {
            panic!("no adoption")
        };
        assert_eq!((defect.key.as_str(), defect.title.as_str()), ("QA-7", "QA-7"));
        assert_eq!(defect.link, "https://t.example");
        let body = r#"{"adopt":"7","link":"https://t.example/7"}"#;
        let Ok(Decision::Adopt(defect)) = read_body(body) else { panic!("no adoption") };
        assert_eq!(defect.link, "https://t.example/7");
        let without_tracker =
            read_decision(serde_json::from_str(r#"{"adopt":"7"}"#).unwrap(), None);
        assert!(without_tracker.is_err(), "a defect needs a link");
    }
}
