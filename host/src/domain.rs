//! The terms of ARCHITECTURE.md as types.
//!
//! This room never does I/O. Only [`SystemClock`] and [`EventId::fresh`] read a clock.

mod account;
mod audit;
mod backoff;
mod choice;
mod clock;
mod compile_for;
mod connection;
mod counts;
mod defect;
mod doubt;
mod event;
mod event_search;
mod failed_test;
mod follow_up;
mod journal;
mod limits;
mod nearest;
mod network;
mod origin;
mod outcome;
mod plugins_source;
mod printable;
mod recent_events;
mod recent_usage;
mod recording;
mod refusal;
mod short_text;
mod string_enum;
mod test_manager;
mod timed_steps;
mod try_step;
mod webhook_auth;
mod webhook_paths;

pub use account::{Account, AccountToken, FIRST_ADMIN, Role, Session, TokenId};
pub use audit::{AuditEntry, AuditId, Via};
pub use backoff::Backoff;
pub use choice::{Choice, ChoicesPage};
pub use clock::{Clock, SystemClock, after, milliseconds};
pub use compile_for::CompileFor;
pub use connection::{
    CLIENT_CERT, CLIENT_KEY, Connection, ConnectionId, ConnectionRecord, ConnectorName, Grants,
    InvalidName, SecretGrant, SecretPlace, Settings, is_client_identity, is_host_secret,
    is_webhook_secret, shown_secret_name,
};
pub use counts::{CountTooLarge, Counts, PROJECT_CHARS_MAX};
pub use defect::{
    Claimed, ConnectionSnapshot, CurrentDefect, DecidedDoubt, Decision, Defect, DefectId,
    DefectRecord, DefectState, DoubtfulDefect, Lease, NotCreated, RowEnd, SearchEnd, SentWrites,
};
pub use doubt::{Doubt, DoubtAction, EmptySearchDecision, UnresolvableReason, Waits};
pub use event::{
    Call, Event, EventId, EventKind, LogLevel, LogLine, OutboundCall, ReceivedRequest, RunReport,
    Usage,
};
pub use event_search::{EventSearch, searchable_words};
pub use failed_test::{FailedTest, FailedTestKey, InvalidMarker, Marker};
pub use follow_up::{
    DueFollowUps, FollowUp, FollowUpEnd, FollowUpKind, FollowUpRecord, FollowUpState, OnRecurrence,
    Recurrence,
};
pub use journal::{
    Effect, FirstWrite, Journal, NotJournaled, WriteAnswer, WriteClass, WriteRecord,
    confirmed_or_nothing_sent, sent_writes, verdict,
};
pub use limits::{Limit, LimitError, Limits};
pub use nearest::nearest;
pub use network::{InvalidNetwork, Network};
pub use origin::{InvalidOrigin, Origin, is_web_address};
pub use outcome::{Outcome, OutcomeCode};
pub use plugins_source::PluginsSource;
pub use printable::{is_printable, printable};
pub use recent_events::{MinuteOfEvents, RecentEvents};
pub use recent_usage::{Percentiles, RecentUsage};
pub use recording::{
    Difference, RECORD_S_MAX, RECORDED_BODY_BYTES_MAX, RECORDED_RUN_BYTES_MAX,
    RECORDINGS_BYTES_MAX, RecordedRun, RunRecording, is_recording,
};
pub use refusal::{ConnectorFault, Reason, Refusal};
pub use short_text::shortened;
pub use string_enum::StringEnum;
pub(crate) use string_enum::string_enum;
pub use test_manager::{TEST_MANAGER_SECRET, TestManagerSettings};
pub use timed_steps::{EventStart, RunTimes, TimedStep, TimedStepKind, TimedSteps, microseconds};
pub use try_step::{TryStep, TryStepResult};
pub use webhook_auth::{
    WEBHOOK_SECRET, WEBHOOK_SECRET_PREVIOUS, WebhookAuth, WebhookCredential, WebhookScheme,
};
pub use webhook_paths::{PROJECT_ID, WebhookPaths, WebhookPathsError};
