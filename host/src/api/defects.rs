//! Types of `/defects`, which lists the defects of failed tests and receives the decisions of
//! people about them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    self, DecidedDoubt, DefectState, FollowUpKind, FollowUpState, WriteClass, printable,
};

use super::{EnumString, Time};

/// The query of `GET /defects`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DefectQuery {
    /// Only defects in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<EnumString<DefectState>>,
    /// Only defects for which `needs_person` is not `null`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_person: bool,
    /// Only defects of this connection, by id or name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The value of `next` in the previous page; absent for the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Uuid>,
    /// The maximum number of rows in a page, 1 to 200; 50 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The answer to `GET /defects`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DefectList {
    /// The rows of this page, newest first.
    pub defects: Vec<DefectRecord>,
    /// The `cursor` that requests the next page; `null` in the last page.
    pub next: Option<Uuid>,
}

/// The row of one generation of a failed test. It contains the defect, or the state of the defect's
/// creation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DefectRecord {
    /// The id of the defect's row.
    pub id: Uuid,
    /// The id of the connection that received the failed test.
    pub connection: Uuid,
    /// The name of the connection; `null` only if the connection is being deleted.
    pub connection_name: Option<String>,
    /// The member `testExecutionId` of the webhook's body.
    pub test_execution_id: Uuid,
    /// The member `testCaseId` of the webhook's body.
    pub test_case_id: Uuid,
    /// The member `variationId` of the webhook's body; `null` if the body had no variation.
    pub variation_id: Option<String>,
    /// The member `linkToTestCaseLog` of the webhook's body; `null` if the body had no such member.
    pub link_to_test_case_log: Option<String>,
    /// The generation of the row. It begins at 1, and increases by 1 each time a person asks for
    /// another defect.
    pub generation: u32,
    /// The state of the row, such as `created` or `in-doubt`.
    pub state: EnumString<DefectState>,
    /// Whether a person released the row: the next request for the failed test creates another
    /// defect, in a row of its own.
    pub released: bool,
    /// The marker: the search word that the connector stores in the tracker's record.
    pub marker: String,
    /// The defect in the tracker; `null` while no defect is known.
    pub defect: Option<Defect>,
    /// The reason why the create failed or is in doubt; `null` otherwise.
    pub reason: Option<String>,
    /// The number of write requests of this generation that were sent, or may have been.
    pub writes: u32,
    /// What is known of the results of this generation's write requests. Of several requests, the
    /// one with the highest class counts. From the lowest to the highest: `refused` (the tracker
    /// created nothing), `unclear` (the answer does not show whether it created something), `open`
    /// (no complete answer arrived, or the tracker may still carry out the request), `acknowledged`
    /// (the tracker answered that it created something). `null` if no request has a class.
    pub class: Option<EnumString<WriteClass>>,
    /// The reason why a person must or should resolve the defect; `null` if no person is needed.
    pub needs_person: Option<String>,
    /// The decision of a person that the next Create Defect request carries out; `null` if there is
    /// no such decision.
    pub decided: Option<EnumString<DecidedDoubt>>,
    /// The id of the last event that claimed the row for a request or stored an outcome in it.
    pub event: Option<Uuid>,
    /// The time at which the last write request was sent; `null` if the last run sent no write
    /// request.
    pub sent_at: Option<Time>,
    /// The time at which the last write request ended, or the latest time at which it can have
    /// ended; `null` if neither is known.
    pub write_ended_at: Option<Time>,
    /// The time at which the row was created.
    pub created_at: Time,
    /// The time of the last change of the row.
    pub updated_at: Time,
    /// The end of the lease on the row, which may be in the past; `null` if no lease is stored.
    pub leased_until: Option<Time>,
    /// The decisions of people about this defect, oldest first.
    pub decisions: Vec<Decision>,
    /// The id of the row of the test case's first failure; `null` if this failure is not a
    /// recurrence.
    pub recurrence_of: Option<Uuid>,
    /// The steps after the create, such as comments and attachments.
    pub follow_ups: Vec<FollowUp>,
}

/// One step of the work on a defect that exists in the tracker.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FollowUp {
    /// The kind of step: `reopen`, `comment`, `list-attachments` or `attach`.
    pub step: EnumString<FollowUpKind>,
    /// The name of the attachment; `null` unless the step is `attach`.
    pub name: Option<String>,
    /// The state of the step: `due`, `sent`, `done` or `given-up`.
    pub state: EnumString<FollowUpState>,
    /// The number of attempts at this step so far.
    pub tries: u32,
    /// The number of write requests that were sent for this step, or may have been.
    pub writes: u32,
    /// The highest class of the step's write requests, as in `DefectRecord`. `null` if no request
    /// has a class.
    pub class: Option<EnumString<WriteClass>>,
    /// The reason why the step is not done yet or was given up; `null` otherwise.
    pub reason: Option<String>,
    /// The time of the next attempt; `null` if there is no next attempt.
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

/// A defect with the values that the connector returned, or that a person entered.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Defect {
    /// The key of the defect in the tracker, such as "QA-123".
    pub key: String,
    /// The title of the defect.
    pub title: String,
    /// The address of the defect's page in the tracker.
    pub link: String,
    /// The state of the defect, in the tracker's words; `null` if it is not known.
    pub status: Option<String>,
    /// The priority of the defect, in the tracker's words; `null` if it is not known.
    pub priority: Option<String>,
    /// The text of the defect; `null` if it is not known.
    pub description: Option<String>,
}

/// The body of `POST /defects/{id}/resolve`: exactly one of `adopt`, `retry` and `give_up`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResolveDefect {
    /// The key of a defect that exists in the tracker. This defect becomes the defect of the failed
    /// test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,
    /// The title of the adopted defect. If absent, the key is the title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The address of the adopted defect's page. If absent, the first origin that is granted to the
    /// connection is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Whether the server ends the wait for `create.in_doubt_s`. After the index delay, the next
    /// Create Defect request searches for the defect, and creates a defect if the search finds
    /// none. If no search is possible, the next request creates a defect at once.
    pub retry: bool,
    /// Whether the person knows that the tracker does not contain the defect. The same happens as
    /// after `retry`, and a defect is also created if the search fails for a reason that is not
    /// temporary.
    pub give_up: bool,
}

impl DefectRecord {
    /// Converts a record of the store, and adds the name of its connection.
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
            released: record.is_released,
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
            step: EnumString(record.kind),
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
