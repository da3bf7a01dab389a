//! How an event or a run ended.

use super::string_enum;

string_enum! {
    /// How an event or a run ended, as one code. A problem has it as the last part of its `type`.
    pub enum OutcomeCode {
        /// The event has begun and has no outcome yet.
        Running = "running",
        /// The host ended before the event did.
        Interrupted = "interrupted",
        /// The run returned what was asked for.
        Ok = "ok",
        /// A defect was created.
        Created = "created",
        /// The defect was there already.
        Repeated = "repeated",
        /// The defect was found by its marker.
        Adopted = "adopted",
        /// The tracker has a second record of the failed test.
        SecondRecord = "second-record",
        /// The tracker gave counts.
        Counted = "counted",
        /// Counts came from the cache.
        Cached = "cached",
        /// A liveness probe was answered, or a connector's `check` succeeded.
        Alive = "alive",
        /// The tracker refused the data.
        Rejected = "rejected",
        /// The tracker refused the connection's credentials or rights.
        CredentialsRefused = "credentials-refused",
        /// The tracker is down or unreachable.
        TrackerUnavailable = "tracker-unavailable",
        /// The tracker asks to wait.
        TrackerRateLimited = "tracker-rate-limited",
        /// The connector cannot do this.
        Unsupported = "unsupported",
        /// The connector trapped, hit a limit, or violated the contract.
        ConnectorFault = "connector-fault",
        /// The connector returned an error of its own.
        ConnectorError = "connector-error",
        /// The connection answers for another Test Manager project.
        WrongProject = "wrong-project",
        /// A count does not fit Test Manager's int32.
        CountTooLarge = "count-too-large",
        /// The connection is paused.
        Paused = "paused",
        /// No version of the connector serves.
        ConnectorUnavailable = "connector-unavailable",
        /// The connector failed repeatedly, and its circuit breaker is open.
        CircuitOpen = "circuit-open",
        /// Too many runs at once.
        Overloaded = "overloaded",
        /// The run was stopped because its lease could not be renewed.
        RunStopped = "run-stopped",
        /// The run was stopped, or not started, because the server shuts down.
        ShuttingDown = "shutting-down",
        /// The store cannot be written.
        StoreUnavailable = "store-unavailable",
        /// A write left and its outcome is not known yet.
        OutcomePending = "outcome-pending",
        /// A write left, its outcome is unknown, and a person has to resolve it.
        InDoubt = "in-doubt",
        /// The answer deadline passed; the work goes on.
        DeadlineExceeded = "deadline-exceeded",
        /// The request is not valid.
        BadRequest = "bad-request",
        /// The request's body is too large.
        PayloadTooLarge = "payload-too-large",
        /// The request's body has a media type that is not supported.
        UnsupportedMediaType = "unsupported-media-type",
        /// The admin token is missing or wrong.
        Unauthorized = "unauthorized",
        /// The sender is over its rate.
        RateLimited = "rate-limited",
        /// No such thing.
        NotFound = "not-found",
        /// The path does not support the method.
        MethodNotAllowed = "method-not-allowed",
        /// The change conflicts with something that exists.
        Conflict = "conflict",
        /// Some values are not valid.
        InvalidValues = "invalid-values",
        /// The host itself failed.
        InternalError = "internal-error",
    }
}

impl OutcomeCode {
    /// Whether the event was answered with a defect or counts.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(
            self,
            Self::Created
                | Self::Repeated
                | Self::Adopted
                | Self::SecondRecord
                | Self::Counted
                | Self::Cached
        )
    }
}

/// How an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The word.
    pub code: OutcomeCode,
    /// One line for a person; empty where the word says it all.
    pub detail: String,
}

impl From<OutcomeCode> for Outcome {
    fn from(code: OutcomeCode) -> Self {
        Self { code, detail: String::new() }
    }
}
