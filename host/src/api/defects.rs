//! `/defects`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{self, DecidedDoubt, DefectState, WriteClass, printable};

use super::{EnumString, Time};

/// The query of `GET /defects`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DefectQuery {
    /// Only those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<EnumString<DefectState>>,
    /// Only those that no rule will resolve.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_person: bool,
    /// Only those of this connection, by id or name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Uuid>,
    /// Rows of a page, 1 to 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `GET /defects`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DefectList {
    /// Newest first.
    pub defects: Vec<DefectRecord>,
    /// The cursor of the next page; absent at the end.
    pub next: Option<Uuid>,
}

/// A failed test's defect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DefectRecord {
    /// The row.
    pub id: Uuid,
    /// The connection's id.
    pub connection: Uuid,
    /// The connection's name.
    pub connection_name: Option<String>,
    /// `testExecutionId`.
    pub test_execution_id: Uuid,
    /// `testCaseId`.
    pub test_case_id: Uuid,
    /// `variationId`, if any.
    pub variation_id: Option<String>,
    /// `linkToTestCaseLog`, if any.
    pub link_to_test_case_log: Option<String>,
    /// Counts from 1.
    pub generation: u32,
    /// The state of the row.
    pub state: EnumString<DefectState>,
    /// What the connector stored in the tracker.
    pub marker: String,
    /// The defect, once known.
    pub defect: Option<Defect>,
    /// Why it failed or is in doubt.
    pub reason: Option<String>,
    /// How many write requests were sent for it.
    pub writes: u32,
    /// What is known of them, of the worst: `refused`, `unclear`, `open` or `acknowledged`.
    pub class: Option<EnumString<WriteClass>>,
    /// Why only a person can resolve it; absent where a rule will.
    pub needs_person: Option<String>,
    /// What a person decided for the next click.
    pub decided: Option<EnumString<DecidedDoubt>>,
    /// The event that moved it last.
    pub event: Option<Uuid>,
    /// When the last write was sent.
    pub sent_at: Option<Time>,
    /// When the last write ended.
    pub write_ended_at: Option<Time>,
    /// When it was claimed first.
    pub created_at: Time,
    /// When it moved last.
    pub updated_at: Time,
    /// Until when a run leases it.
    pub leased_until: Option<Time>,
    /// What people decided, oldest first.
    pub decisions: Vec<Decision>,
}

/// What a person decided.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Time,
    /// Who.
    pub by: String,
    /// `adopt`, `retry`, `give-up` or `release`.
    pub decision: String,
}

/// A defect in the tracker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Defect {
    /// The tracker's own key.
    pub key: String,
    /// Its title.
    pub title: String,
    /// A page that a person can open.
    pub link: String,
    /// The tracker's word for its state.
    pub status: Option<String>,
    /// The tracker's word for its priority.
    pub priority: Option<String>,
    /// Its text.
    pub description: Option<String>,
}

/// `POST /defects/{id}/resolve`: exactly one of `adopt`, `retry` and `give_up`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResolveDefect {
    /// The tracker has it, under this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,
    /// The adopted defect's title; absent: its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The adopted defect's page; absent: the tracker's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The wait is over: the next click searches, and creates it if it finds nothing.
    pub retry: bool,
    /// The tracker does not have it: the next click creates it, after a last search if one is possible.
    pub give_up: bool,
}

impl DefectRecord {
    /// The record, with its connection's name.
    #[must_use]
    pub fn new(record: &domain::DefectRecord, connection_name: Option<String>) -> Self {
        Self {
            id: record.id.0,
            connection: record.connection.0,
            connection_name,
            test_execution_id: record.test.test_execution_id,
            test_case_id: record.test.test_case_id,
            variation_id: record.test.variation_id().map(str::to_owned),
            link_to_test_case_log: record.test.link.clone(),
            generation: record.generation,
            state: EnumString(record.state),
            marker: record.marker.to_string(),
            defect: record.defect.as_ref().map(Defect::from),
            reason: record.reason.as_deref().map(printable),
            writes: record.writes,
            class: record.class.map(EnumString),
            needs_person: record.needs_person.as_deref().map(printable),
            decided: record.decided.map(EnumString),
            event: record.event.map(|id| id.0),
            sent_at: record.sent_at.map(Time),
            write_ended_at: record.write_ended_at.map(Time),
            created_at: Time(record.created_at),
            updated_at: Time(record.updated_at),
            leased_until: record.leased_until.map(Time),
            decisions: record.decisions.iter().cloned().map(Decision::from).collect(),
        }
    }
}

impl From<(Timestamp, String, String)> for Decision {
    fn from((at, by, decision): (Timestamp, String, String)) -> Self {
        Self { at: Time(at), by, decision }
    }
}

impl From<&domain::Defect> for Defect {
    fn from(defect: &domain::Defect) -> Self {
        let domain::Defect { key, title, link, status, priority, description } = defect.clone();
        Self { key, title, link, status, priority, description }
    }
}
