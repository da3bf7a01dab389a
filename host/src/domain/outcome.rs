//! The outcomes of events and runs.

use super::string_enum;

string_enum! {
    /// The outcome of an event, a run or a request, as one code. The code is also the last part of
    /// the `type` of a problem response.
    pub enum OutcomeCode {
        /// The event has begun and has no outcome yet.
        Running = "running",
        /// The host stopped before the event ended.
        Interrupted = "interrupted",
        /// The run succeeded.
        Ok = "ok",
        /// This event created the defect.
        Created = "created",
        /// The defect was already stored, or another event was already creating it.
        Repeated = "repeated",
        /// A search found the defect by its marker.
        Adopted = "adopted",
        /// The test case failed again: the defect of an earlier failure was returned.
        Recurred = "recurred",
        /// The follow-up steps of a created defect were done.
        FollowedUp = "followed-up",
        /// The tracker has a second record of the failed test.
        SecondRecord = "second-record",
        /// The tracker returned counts.
        Counted = "counted",
        /// The counts come from the cache or from another server.
        Cached = "cached",
        /// A liveness probe was answered, or a connector's `check` succeeded.
        Alive = "alive",
        /// The tracker refused the data, or does not have the object that a setting names.
        Rejected = "rejected",
        /// The tracker refused the connection's credentials or rights.
        CredentialsRefused = "credentials-refused",
        /// The tracker is down or unreachable.
        TrackerUnavailable = "tracker-unavailable",
        /// The tracker limits the rate of requests.
        TrackerRateLimited = "tracker-rate-limited",
        /// The connector does not support the operation.
        Unsupported = "unsupported",
        /// Test Manager could not be read.
        TestManagerUnavailable = "test-manager-unavailable",
        /// The connector trapped, threw an exception, exceeded a limit, or violated the contract.
        ConnectorFault = "connector-fault",
        /// The connector returned the error `internal`, which means a mistake in the connector.
        ConnectorError = "connector-error",
        /// The connection is restricted to another Test Manager project.
        WrongProject = "wrong-project",
        /// A count is too large for the int32 numbers of Test Manager.
        CountTooLarge = "count-too-large",
        /// The connection is paused.
        Paused = "paused",
        /// No version of the connector can be used for the connection.
        ConnectorUnavailable = "connector-unavailable",
        /// The connector failed repeatedly, and its circuit breaker is open.
        CircuitOpen = "circuit-open",
        /// Too many runs are in progress, or the runs use too much memory.
        Overloaded = "overloaded",
        /// The run had no result, because its lease was lost or could not be renewed.
        RunStopped = "run-stopped",
        /// The run was stopped or not started because the server is shutting down.
        ShuttingDown = "shutting-down",
        /// The store cannot be read or written.
        StoreUnavailable = "store-unavailable",
        /// A write for the failed test, or for an earlier failure of the test case, may have been
        /// sent. Its outcome is not known yet.
        OutcomePending = "outcome-pending",
        /// A write was sent, and the host cannot find out its outcome.
        InDoubt = "in-doubt",
        /// The answer deadline passed; the work continues.
        DeadlineExceeded = "deadline-exceeded",
        /// The host name in the request is not an allowed host name of the server.
        HostNotAllowed = "host-not-allowed",
        /// The request is not valid.
        BadRequest = "bad-request",
        /// The request's body is too large.
        PayloadTooLarge = "payload-too-large",
        /// The request's body has a media type that is not supported.
        UnsupportedMediaType = "unsupported-media-type",
        /// The request has no valid token and no session.
        Unauthorized = "unauthorized",
        /// The sender of a webhook lacks the credential that the connection requires.
        SenderRefused = "sender-refused",
        /// The connection does not accept webhooks from the client's address.
        AddressRefused = "address-refused",
        /// The account lacks a right that the request needs, or the proxy that signs people in
        /// named no valid role.
        RoleTooLow = "role-too-low",
        /// A request with a session's cookie may come from another site.
        CrossSiteRequest = "cross-site-request",
        /// The sender exceeded its request rate.
        RateLimited = "rate-limited",
        /// The page, path or record does not exist.
        NotFound = "not-found",
        /// The path does not support the method.
        MethodNotAllowed = "method-not-allowed",
        /// The change conflicts with existing data.
        Conflict = "conflict",
        /// The record has changed since the sender of the request read it.
        PreconditionFailed = "precondition-failed",
        /// Some values are not valid.
        InvalidValues = "invalid-values",
        /// The host itself failed.
        InternalError = "internal-error",
    }
}

impl OutcomeCode {
    /// Whether the event ended with a defect or counts, or did the follow-up steps of a defect.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(
            self,
            Self::Created
                | Self::Repeated
                | Self::Adopted
                | Self::Recurred
                | Self::FollowedUp
                | Self::SecondRecord
                | Self::Counted
                | Self::Cached
        )
    }
}

/// The outcome of an event, with an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The outcome as a code, for programs.
    pub code: OutcomeCode,
    /// One line for a person; empty if the code alone is a sufficient explanation.
    pub detail: String,
}

impl From<OutcomeCode> for Outcome {
    fn from(code: OutcomeCode) -> Self {
        Self { code, detail: String::new() }
    }
}
