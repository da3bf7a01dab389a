//! The reasons why an event or a run has no result. This file never chooses an HTTP status.

use std::fmt;

use super::{CountTooLarge, DefectId, Outcome, OutcomeCode, printable};

/// The explanation of an error, from the connector or the host. The text may come from the tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The explanation, for people.
    pub text: String,
    /// The setting of the connection that a person should change, if the error is about a setting.
    pub setting: Option<String>,
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self { text, setting: None }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// A reason why an event or a run has no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The tracker refused the data, or does not have the object that a setting names.
    #[error("{}", rejection_text(.0))]
    Rejected(Reason),
    /// The tracker refused the connection's credentials, or the credentials lack a right.
    #[error("the tracker refused the connection's credentials: {0}")]
    CredentialsRefused(Reason),
    /// The tracker is down or unreachable, did not answer in time, or gave an unexpected answer.
    #[error("the tracker is unavailable: {0}")]
    TrackerUnavailable(Reason),
    /// The tracker limits the rate of requests.
    #[error("the tracker limits the rate of requests; wait {retry_after_s} s: {why}")]
    TrackerRateLimited {
        /// The connector's explanation.
        why: String,
        /// How long the sender of the webhook should wait, seconds.
        retry_after_s: u32,
    },
    /// The tracker or the connector does not support the operation.
    #[error("the tracker or the connector does not support this: {0}")]
    Unsupported(Reason),
    /// The connector trapped, threw an exception, exceeded a limit, or violated the contract.
    #[error(transparent)]
    ConnectorFault(#[from] ConnectorFault),
    /// The connector returned the error `internal`, which means a mistake in the connector.
    #[error("the connector reports an error: {0}")]
    ConnectorError(Reason),
    /// The connection is restricted to one Test Manager project, and the KPI request names another
    /// project.
    #[error("this connection is restricted to another Test Manager project")]
    WrongProject,
    /// A count is too large for the int32 numbers of Test Manager.
    #[error(transparent)]
    CountTooLarge(#[from] CountTooLarge),
    /// The connection is paused.
    #[error("the connection is paused; run `jackfield connections resume NAME` to resume it")]
    Paused,
    /// No version of the connector can be used for the event.
    #[error("{0}")]
    ConnectorUnavailable(String),
    /// The connection's circuit breaker for this kind of call is open.
    #[error(
        "the connector failed repeatedly, so this kind of call is refused for the next \
         {retry_after_s} s. Last failure: {reason}"
    )]
    CircuitOpen {
        /// The last trap or exceeded limit that the breaker counted, as a text.
        reason: String,
        /// How long the sender of the webhook should wait, seconds.
        retry_after_s: u32,
    },
    /// Too many runs are in progress.
    #[error("too many runs are in progress; try again")]
    Overloaded,
    /// The run would exceed the memory limit of all runs together, or the share of this limit that
    /// its connection or connector may have.
    #[error(
        "this run would exceed `memory_bytes_host` = {bytes_max}, or the share of it that its \
         connection or connector may have; try again"
    )]
    HostMemoryFull {
        /// The value of `memory_bytes_host`.
        bytes_max: u64,
    },
    /// The lease under which the run works was lost or could not be renewed.
    #[error(
        "the lease on the defect was lost or could not be renewed, so there is no result; try again"
    )]
    RunStopped,
    /// The server is shutting down.
    #[error("the server is shutting down; try again when it runs again")]
    ShuttingDown,
    /// The store cannot be read or written.
    #[error("the host cannot use its database: {0}")]
    StoreUnavailable(String),
    /// The test case failed before, and the current state of its defect could not be read.
    #[error(
        "{refusal}. The defect of the first failure of this test case cannot be read; if it is no longer \
         needed, run `jackfield defects release {first}`, and the next request creates another defect"
    )]
    EarlierDefect {
        /// The reason why the defect cannot be read.
        refusal: Box<Refusal>,
        /// The row of the first failure.
        first: DefectId,
    },
    /// The run sent a write that the tracker did not refuse, but no defect is known.
    #[error(
        "{refusal}. A create request was sent ({write}); the next request searches for its defect first"
    )]
    AfterWrite {
        /// The reason why no defect is known.
        refusal: Box<Refusal>,
        /// The result of the write, for a person.
        write: String,
    },
    /// This event waited for another event's run for the same failed test, and that run ended
    /// without a defect.
    #[error("{detail}")]
    Ended {
        /// The outcome of that run.
        code: OutcomeCode,
        /// The detail of that outcome, for a person.
        detail: String,
    },
    /// A write for the failed test, or for an earlier failure of the test case, may have been sent.
    /// The event must wait for its outcome.
    #[error(
        "it is not known yet whether an earlier request creates the defect ({reason}); try again \
         in {retry_after_s} s"
    )]
    OutcomePending {
        /// How long the sender of the webhook should wait, seconds.
        retry_after_s: u32,
        /// The known facts about the write, for a person.
        reason: String,
    },
    /// A write may have been sent, its outcome is unknown, and waiting does not help: a person must
    /// resolve the defect.
    #[error(
        "a create request may have been sent, and its outcome is unknown: {reason}. Search the \
         tracker, then run `jackfield defects resolve {defect}` with --adopt KEY, --retry or \
         --give-up"
    )]
    InDoubt {
        /// The defect that the person must resolve.
        defect: DefectId,
        /// The known facts about the write, for a person.
        reason: String,
    },
    /// The event had no answer in time. The work usually continues.
    #[error(
        "no answer within {after_ms} ms; the work continues, and the next request returns its result"
    )]
    DeadlineExceeded {
        /// The answer deadline, milliseconds after the request.
        after_ms: u64,
    },
}

/// A fault of the connector itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectorFault {
    /// The guest trapped (panic, unreachable, stack overflow, bad memory access).
    #[error("the connector trapped: {0}")]
    Trap(String),
    /// The guest threw an exception that it did not catch; the text describes the exception.
    #[error("the connector threw: {0}")]
    Threw(String),
    /// The run exceeded a limit.
    #[error(
        "the connector hit its limit `limits.{name}` = {value}{}", printed_text_suffix(.printed.as_deref())
    )]
    Limit {
        /// The key under `[limits]`.
        name: &'static str,
        /// The value of the limit.
        value: u64,
        /// The last text that the guest printed on stderr.
        printed: Option<String>,
    },
    /// The guest returned something that the contract does not allow.
    #[error("the connector violated the contract: {0}")]
    Contract(String),
}

impl ConnectorFault {
    /// Adds the last text that the guest printed on stderr to a trap or an exceeded limit.
    #[must_use]
    pub fn with_printed_text(self, words: &str) -> Self {
        match self {
            Self::Trap(why) => Self::Trap(format!("{why}{}", printed_text_suffix(Some(words)))),
            Self::Limit { name, value, .. } => {
                Self::Limit { name, value, printed: Some(words.to_owned()) }
            }
            Self::Threw(_) | Self::Contract(_) => self,
        }
    }
}

fn rejection_text(reason: &Reason) -> String {
    let what = if reason.setting.is_some() { "a setting does not fit" } else { "rejected" };
    format!("{what}: {reason}")
}

/// Returns the end of an error message, which repeats what the guest printed.
fn printed_text_suffix(printed: Option<&str>) -> String {
    printed.map(|words| format!("; it printed: {words}")).unwrap_or_default()
}

impl Refusal {
    /// Returns the outcome code.
    #[must_use]
    pub fn code(&self) -> OutcomeCode {
        match self {
            Self::Rejected(_) => OutcomeCode::Rejected,
            Self::CredentialsRefused(_) => OutcomeCode::CredentialsRefused,
            Self::TrackerUnavailable(_) => OutcomeCode::TrackerUnavailable,
            Self::TrackerRateLimited { .. } => OutcomeCode::TrackerRateLimited,
            Self::Unsupported(_) => OutcomeCode::Unsupported,
            Self::ConnectorFault(_) => OutcomeCode::ConnectorFault,
            Self::ConnectorError(_) => OutcomeCode::ConnectorError,
            Self::WrongProject => OutcomeCode::WrongProject,
            Self::CountTooLarge(_) => OutcomeCode::CountTooLarge,
            Self::Paused => OutcomeCode::Paused,
            Self::ConnectorUnavailable(_) => OutcomeCode::ConnectorUnavailable,
            Self::CircuitOpen { .. } => OutcomeCode::CircuitOpen,
            Self::Overloaded | Self::HostMemoryFull { .. } => OutcomeCode::Overloaded,
            Self::RunStopped => OutcomeCode::RunStopped,
            Self::ShuttingDown => OutcomeCode::ShuttingDown,
            Self::StoreUnavailable(_) => OutcomeCode::StoreUnavailable,
            Self::AfterWrite { refusal, .. } | Self::EarlierDefect { refusal, .. } => {
                refusal.code()
            }
            Self::Ended { code, .. } => *code,
            Self::OutcomePending { .. } => OutcomeCode::OutcomePending,
            Self::InDoubt { .. } => OutcomeCode::InDoubt,
            Self::DeadlineExceeded { .. } => OutcomeCode::DeadlineExceeded,
        }
    }

    /// Returns the [`Reason`] of this refusal, or of the refusal that it contains; `None` if there
    /// is none.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Rejected(reason)
            | Self::CredentialsRefused(reason)
            | Self::TrackerUnavailable(reason)
            | Self::Unsupported(reason)
            | Self::ConnectorError(reason) => Some(reason),
            Self::AfterWrite { refusal, .. } | Self::EarlierDefect { refusal, .. } => {
                refusal.reason()
            }
            _ => None,
        }
    }

    /// Returns the setting to change, if the connector named one.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        self.reason()?.setting.as_deref()
    }
}

impl From<&Refusal> for Outcome {
    fn from(refusal: &Refusal) -> Self {
        Self { code: refusal.code(), detail: printable(&refusal.to_string()) }
    }
}
