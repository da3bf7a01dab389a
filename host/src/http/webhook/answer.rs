//! Builds the answers to webhooks in Test Manager's format, and the outcomes that the events of the
//! webhooks store. This module never sends or stores anything itself.

use axum::http::header::AGE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::config::{DefectIdKind, Webhook};
use crate::defects::CreateAnswer;
use crate::domain::{DefectId, EventId, EventKind, Outcome, OutcomeCode, Refusal};
use crate::http::problem::Problem;
use crate::json::Json;
use crate::kpis::KpiAnswer;

/// The header that marks counts that could not be refreshed.
static STALE_HEADER: HeaderName = HeaderName::from_static("jackfield-stale");

/// The answer to a webhook, with the outcome and the defect that the event of the webhook stores.
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) outcome: Outcome,
    /// The defect in the answer, or the defect in doubt.
    pub(super) defect: Option<DefectId>,
}

/// The body of the answer to a Create Defect request. Source: the Create Defect answer in UiPath's
/// Test Manager user guide, page "Webhooks".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreatedBody<'a> {
    id: String,
    name: &'a str,
    description: Option<&'a str>,
    status: Option<&'a str>,
    priority: Option<&'a str>,
    link: &'a str,
    link_label: &'a str,
}

/// The body of the answer to a Defect KPIs request. Source: the Defect KPIs answer in UiPath's Test
/// Manager user guide, page "Webhooks".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KpiBody<'a> {
    total_defects: i32,
    critical_defects: i32,
    moderate_defects: i32,
    open_defects: i32,
    closed_defects: i32,
    critical_defects_link: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
}

#[derive(Serialize)]
struct AliveBody {
    status: &'static str,
}

impl Answer {
    pub(super) fn alive() -> Self {
        let response = Json(AliveBody { status: "alive" }).into_response();
        Self { response, outcome: OutcomeCode::Alive.into(), defect: None }
    }

    /// The parameter `id` decides what the member `id` of the answer is: the defect's key in the
    /// tracker, or the id of the row.
    pub(super) fn created(created: &CreateAnswer, id: DefectIdKind) -> Self {
        let response = Json(created_body(created, id)).into_response();
        let outcome = Outcome { code: created.code, detail: created.detail.clone() };
        Self { response, outcome, defect: Some(created.id) }
    }

    /// Answers a Defect KPIs request. The event stores `counted_in`, which names the project in the
    /// tracker.
    ///
    /// # Errors
    /// A count does not fit into an int32, the type that Test Manager expects.
    pub(super) fn counted(
        counted: &KpiAnswer,
        config: &Webhook,
        counted_in: String,
    ) -> Result<Self, Refusal> {
        let mut response = Json(kpi_body(counted, config)?).into_response();
        let is_fresh = counted.age.is_zero() && !counted.is_stale;
        if !is_fresh {
            response.headers_mut().insert(AGE, counted.age.as_secs().into());
        }
        if counted.is_stale {
            response.headers_mut().insert(STALE_HEADER.clone(), HeaderValue::from_static("true"));
        }
        let code = if is_fresh { OutcomeCode::Counted } else { OutcomeCode::Cached };
        let detail =
            if counted_in.is_empty() { counted_in } else { format!("counted in {counted_in}") };
        Ok(Self { response, outcome: Outcome { code, detail }, defect: None })
    }

    /// Answers with a problem. Its text is for testers, who see it in Test Manager.
    pub(super) fn problem(id: EventId, problem: &Problem) -> Self {
        let response = problem.for_testers().respond(&instance(id));
        Self { response, outcome: problem.outcome(), defect: None }
    }

    pub(super) fn refusal(id: EventId, refusal: &Refusal) -> Self {
        let defect = match refusal {
            Refusal::InDoubt { defect, .. } => Some(*defect),
            _ => None,
        };
        Self { defect, ..Self::problem(id, &Problem::from(refusal)) }
    }

    pub(super) fn refuses_sender(&self) -> bool {
        [OutcomeCode::SenderRefused, OutcomeCode::AddressRefused].contains(&self.outcome.code)
    }

    /// Replaces the detail that the event stores. The response does not change.
    pub(super) fn with_detail(mut self, detail: String) -> Self {
        self.outcome.detail = detail;
        self
    }

    /// Whether this answer refuses a Create Defect request because of its content.
    pub(super) fn refuses_create(&self, kind: EventKind) -> bool {
        use OutcomeCode::{BadRequest, PayloadTooLarge, UnsupportedMediaType};
        let refused = [BadRequest, PayloadTooLarge, UnsupportedMediaType];
        kind == EventKind::CreateDefect && refused.contains(&self.outcome.code)
    }
}

/// The `instance` of a problem: the path of its event.
pub(super) fn instance(id: EventId) -> String {
    format!("/events/{id}")
}

fn created_body(created: &CreateAnswer, id: DefectIdKind) -> CreatedBody<'_> {
    let defect = &created.defect;
    CreatedBody {
        id: match id {
            DefectIdKind::Key => defect.key.clone(),
            DefectIdKind::Uuid => created.id.to_string(),
        },
        name: &defect.title,
        description: defect.description.as_deref(),
        status: defect.status.as_deref(),
        priority: defect.priority.as_deref(),
        link: &defect.link,
        link_label: &defect.key,
    }
}

fn kpi_body<'a>(counted: &'a KpiAnswer, config: &'a Webhook) -> Result<KpiBody<'a>, Refusal> {
    let [total, critical, moderate, open, closed] = counted.counts.as_int32()?;
    let status = config.kpi_status.as_ref().map(|[ok, some_moderate, some_critical]| {
        match (critical, moderate) {
            (0, 0) => ok.as_str(),
            (0, _) => some_moderate,
            _ => some_critical,
        }
    });
    Ok(KpiBody {
        total_defects: total,
        critical_defects: critical,
        moderate_defects: moderate,
        open_defects: open,
        closed_defects: closed,
        critical_defects_link: counted.counts.critical_link.as_deref(),
        status,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{json, to_value};
    use uuid::Uuid;

    use crate::domain::{Counts, Defect};

    use super::*;

    #[test]
    fn the_answer_to_create_defect_identifies_the_defect_by_key_or_by_uuid() {
        let defect = Defect {
            key: "QA-7".to_owned(),
            title: "It fails".to_owned(),
            link: "https://t.example/7".to_owned(),
            status: Some("New".to_owned()),
            priority: None,
            description: None,
        };
        let id = DefectId(Uuid::from_u128(7));
        let created = CreateAnswer::new(id, defect, OutcomeCode::Created);
        let body = to_value(created_body(&created, DefectIdKind::Key)).unwrap();
        assert_eq!(
            body,
            json!({"id": "QA-7", "name": "It fails", "description": null, "status": "New",
                "priority": null, "link": "https://t.example/7", "linkLabel": "QA-7"})
        );
        let body = to_value(created_body(&created, DefectIdKind::Uuid)).unwrap();
        assert_eq!((&body["id"], &body["linkLabel"]), (&json!(id.to_string()), &json!("QA-7")));
    }

    #[test]
    fn the_answer_to_defect_kpis_has_a_status_only_if_status_texts_are_configured() {
        let counts = Counts { open: 5, closed: 2, critical: 0, moderate: 1, critical_link: None };
        let counted = KpiAnswer { counts, age: Duration::ZERO, is_stale: false };
        let body = to_value(kpi_body(&counted, &Webhook::default()).unwrap()).unwrap();
        assert_eq!((&body["totalDefects"], body.get("status")), (&json!(7), None));
        let statuses = ["fine", "so-so", "bad"].map(str::to_owned);
        let config = Webhook { kpi_status: Some(statuses), ..Webhook::default() };
        assert_eq!(to_value(kpi_body(&counted, &config).unwrap()).unwrap()["status"], "so-so");
    }
}
