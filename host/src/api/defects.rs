//! Types of `/defects`: the rows of failed tests, and the decisions of people about them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    self, DecidedDoubt, DefectState, FollowUpState, FollowUpStep, WriteClass, printable,
};

use super::{EnumString, Time};

/// The query of `GET /defects`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DefectQuery {
    /// Only defects in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<EnumString<DefectState>>,
    /// Only defects in doubt that a person must resolve.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_person: bool,
    /// Only defects of this connection, by id or name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The `next` of the previous page; absent for the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Uuid>,
    /// Number of rows in a page, 1 to 200; absent: 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The answer to `GET /defects`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DefectList {
    /// The rows of this page, newest first.
    pub defects: Vec<DefectRecord>,
    /// The cursor of the next page; absent at the end.
    pub next: Option<Uuid>,
}

/// The row of one failed test: its defect, or the state of its creation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DefectRecord {
    /// The id of the defect's row.
    pub id: Uuid,
    /// The id of the connection that received the failed test.
    pub connection: Uuid,
    /// The name of the connection; absent only if the connection is deleted at the same time.
    pub connection_name: Option<String>,
    /// `testExecutionId` of the webhook.
    pub test_execution_id: Uuid,
    /// `testCaseId` of the webhook.
    pub test_case_id: Uuid,
    /// `variationId` of the webhook; absent if the test case has no variations.
    pub variation_id: Option<String>,
    /// `linkToTestCaseLog` of the webhook; absent if the webhook had none.
    pub link_to_test_case_log: Option<String>,
    /// Begins at 1, and increases by 1 each time a person asks for another defect.
    pub generation: u32,
    /// The state of the row, such as `created` or `in-doubt`.
    pub state: EnumString<DefectState>,
    /// The marker that the connector stored in the tracker.
    pub marker: String,
    /// The defect in the tracker; absent while no defect is known.
    pub defect: Option<Defect>,
    /// The reason why the create failed or is in doubt.
    pub reason: Option<String>,
    /// The number of write requests that were sent in this generation.
    pub writes: u32,
    /// The class of the request that may have changed most in the tracker; from the least to the
    /// most: `refused`, `unclear`, `open`, `acknowledged`. Absent if no request has a class.
    pub class: Option<EnumString<WriteClass>>,
    /// The reason why only a person can resolve the defect; absent if a search still can.
    pub needs_person: Option<String>,
    /// A person's decision that the next click carries out.
    pub decided: Option<EnumString<DecidedDoubt>>,
    /// The event that changed the row last.
    pub event: Option<Uuid>,
    /// The time at which the last write request was sent; absent if none was sent.
    pub sent_at: Option<Time>,
    /// The time at which the last write request ended.
    pub write_ended_at: Option<Time>,
    /// The time at which the row was created.
    pub created_at: Time,
    /// The time of the last change of the row.
    pub updated_at: Time,
    /// The end of the current run's lease; absent if no run leases the row.
    pub leased_until: Option<Time>,
    /// The decisions of people about this defect, oldest first.
    pub decisions: Vec<Decision>,
    /// The row of the first failure of the test case, if this failure is a recurrence.
    pub recurrence_of: Option<Uuid>,
    /// The steps after the create: comments and attachments.
    pub follow_ups: Vec<FollowUp>,
}

/// One step of the work on a created defect: a comment, an attachment or a change of state.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FollowUp {
    /// The kind of step: `reopen`, `comment`, `list-attachments` or `attach`.
    pub step: EnumString<FollowUpStep>,
    /// The name of the attachment, for `attach`.
    pub name: Option<String>,
    /// The state of the step: `due`, `sent`, `done` or `given-up`.
    pub state: EnumString<FollowUpState>,
    /// The number of tries so far.
    pub tries: u32,
    /// The number of write requests that were sent for this step.
    pub writes: u32,
    /// The class of the request that may have changed most in the tracker. Absent if no request
    /// has a class.
    pub class: Option<EnumString<WriteClass>>,
    /// The reason why the step is not done yet or was given up.
    pub reason: Option<String>,
    /// The time of the next try.
    pub next_at: Option<Time>,
}

/// A person's decision about a defect.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// The time of the decision.
    pub at: Time,
    /// The name of the account that decided.
    pub by: String,
    /// The decision: `adopt`, `retry`, `give-up` or `release`.
    pub decision: String,
}

/// A defect, as the tracker described it most recently.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Defect {
    /// The tracker's own key, such as "QA-123".
    pub key: String,
    /// The title that the tracker shows.
    pub title: String,
    /// The address of a page about the defect.
    pub link: String,
    /// The state that the tracker shows, in the tracker's words.
    pub status: Option<String>,
    /// The priority that the tracker shows, in the tracker's words.
    pub priority: Option<String>,
    /// The text of the defect; absent if the connector did not return it.
    pub description: Option<String>,
}

/// The body of `POST /defects/{id}/resolve`: exactly one of `adopt`, `retry` and `give_up`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResolveDefect {
    /// The key of a defect that exists in the tracker: it becomes the defect of this failed test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,
    /// The title of the adopted defect; its key if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The address of the adopted defect's page; the tracker's address if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Stop waiting for the outcome: the next click searches for the defect, and creates one if the
    /// search finds none.
    pub retry: bool,
    /// The tracker does not contain the defect: the next click creates it, after one more search if
    /// the connector can search.
    pub give_up: bool,
}

impl DefectRecord {
    /// Converts a record of the store and adds the name of its connection.
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
            recurrence_of: record.recurrence_of.map(|id| id.0),
            follow_ups: record.follow_ups.iter().map(FollowUp::from).collect(),
        }
    }
}

impl From<(Timestamp, String, String)> for Decision {
    fn from((at, by, decision): (Timestamp, String, String)) -> Self {
        Self { at: Time(at), by, decision }
    }
}

impl From<&domain::FollowUpRecord> for FollowUp {
    fn from(record: &domain::FollowUpRecord) -> Self {
        Self {
            step: EnumString(record.step),
            name: Some(&record.name).filter(|name| !name.is_empty()).cloned(),
            state: EnumString(record.state),
            tries: record.tries,
            writes: record.writes,
            class: record.class.map(EnumString),
            reason: record.reason.as_deref().map(printable),
            next_at: record.next_at.map(Time),
        }
    }
}

impl From<&domain::Defect> for Defect {
    fn from(defect: &domain::Defect) -> Self {
        let domain::Defect { key, title, link, status, priority, description } = defect.clone();
        Self { key, title, link, status, priority, description }
    }
}
