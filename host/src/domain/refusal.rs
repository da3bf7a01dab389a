//! Why an event was not answered with a defect or counts. Pure reasons: the `http` room alone
//! turns them into status codes.

use std::fmt;

use super::{CountTooLarge, DefectId};

/// Everything that can stand in the way of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The tracker refused the data; its own words.
    Rejected(String),
    /// The tracker refused the connection's credentials or rights; its own words.
    CredentialsRefused(String),
    /// The tracker is down, unreachable or out of order.
    TrackerUnavailable(String),
    /// The tracker asks to wait so many seconds.
    TrackerLimits(u32),
    /// The connector says that this tracker cannot do it, or exports no such interface.
    Unsupported(String),
    /// The connector broke.
    ConnectorBroke(Breakage),
    /// The connector answered with an error of its own.
    ConnectorError(String),
    /// The KPI request names another project than the one the connection is pinned to.
    OtherProject,
    /// A count does not fit Test Manager's int32.
    CountTooLarge(CountTooLarge),
    /// The connection is paused.
    Paused,
    /// No usable connector: missing, broken or still compiling; the text says which.
    NoConnector(String),
    /// The connector failed over and over and is being rested; seconds until the next try.
    Resting {
        /// What it failed with.
        reason: String,
        /// Seconds to wait.
        retry_after_s: u32,
    },
    /// Too many runs at once.
    HostFull,
    /// The store cannot be written; nothing was done.
    StoreDown(String),
    /// A write left and its outcome is unknown; the tracker may still show it.
    Settling {
        /// Seconds to wait before looking again.
        retry_after_s: u32,
        /// What happened.
        reason: String,
    },
    /// A write left, its outcome is unknown and waiting will not help: a person settles it.
    InDoubt {
        /// The row to settle.
        defect: DefectId,
        /// What happened.
        reason: String,
    },
    /// The answer deadline came first; the work goes on.
    Deadline {
        /// The deadline that passed.
        after_ms: u64,
    },
}

/// How a connector broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breakage {
    /// It trapped (panic, unreachable, stack overflow, bad memory access).
    Trap(String),
    /// It hit a limit.
    Limit {
        /// The config key.
        name: &'static str,
        /// The value in force.
        value: u64,
    },
    /// It returned something that the contract does not allow.
    Contract(String),
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap(why) => write!(f, "the connector trapped: {why}"),
            Self::Limit { name, value } => {
                write!(f, "the connector hit its limit `limits.{name}` = {value}")
            }
            Self::Contract(why) => write!(f, "the connector broke the contract: {why}"),
        }
    }
}

impl Refusal {
    /// The word in events and in the problem's `type`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rejected(_) => "rejected",
            Self::CredentialsRefused(_) => "credentials-refused",
            Self::TrackerUnavailable(_) => "tracker-unavailable",
            Self::TrackerLimits(_) => "tracker-limits",
            Self::Unsupported(_) => "unsupported",
            Self::ConnectorBroke(_) => "connector-broke",
            Self::ConnectorError(_) => "connector-error",
            Self::OtherProject => "other-project",
            Self::CountTooLarge(_) => "count-too-large",
            Self::Paused => "paused",
            Self::NoConnector(_) => "no-connector",
            Self::Resting { .. } => "resting",
            Self::HostFull => "host-full",
            Self::StoreDown(_) => "store-down",
            Self::Settling { .. } => "settling",
            Self::InDoubt { .. } => "in-doubt",
            Self::Deadline { .. } => "deadline",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(words) => write!(f, "the tracker refused the data: {words}"),
            Self::CredentialsRefused(words) => {
                write!(f, "the tracker refused the connection's credentials: {words}")
            }
            Self::TrackerUnavailable(words) => write!(f, "the tracker is unavailable: {words}"),
            Self::TrackerLimits(seconds) => {
                write!(f, "the tracker limits requests: wait {seconds} s")
            }
            Self::Unsupported(what) => write!(f, "the connector does not support this: {what}"),
            Self::ConnectorBroke(how) => how.fmt(f),
            Self::ConnectorError(words) => write!(f, "the connector reports an error: {words}"),
            Self::OtherProject => {
                f.write_str("this connection answers for another Test Manager project")
            }
            Self::CountTooLarge(which) => which.fmt(f),
            Self::Paused => f.write_str("the connection is paused; resume it to go on"),
            Self::NoConnector(why) => f.write_str(why),
            Self::Resting { reason, retry_after_s } => write!(
                f,
                "the connector failed over and over and rests for {retry_after_s} s; last: {reason}"
            ),
            Self::HostFull => f.write_str("too many runs at once; try again"),
            Self::StoreDown(why) => {
                write!(f, "the host cannot write its store, nothing was done: {why}")
            }
            Self::Settling { reason, retry_after_s } => write!(
                f,
                "a create request left and its outcome is not known yet ({reason}); \
                 look again in {retry_after_s} s"
            ),
            Self::InDoubt { defect, reason } => write!(
                f,
                "a create request left and its outcome is unknown ({reason}). Look into the \
                 tracker, then `jackfield defects settle {defect}` with --adopt KEY, --retry or \
                 --give-up"
            ),
            Self::Deadline { after_ms } => write!(
                f,
                "no answer within {after_ms} ms; the work goes on and the next request returns it"
            ),
        }
    }
}
