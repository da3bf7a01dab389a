//! Every kind of problem: its word, its status, its title, and what to do about it.

use axum::http::StatusCode;

/// A kind of problem; `/problems/{code}` explains it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct Kind {
    /// The word in `type`, and the event's outcome.
    pub(in crate::http) code: &'static str,
    /// The answer's status.
    pub(in crate::http) status: StatusCode,
    /// RFC 9457's `title`.
    pub(in crate::http) title: &'static str,
    /// What a person does about it.
    pub(in crate::http) remedy: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $code:literal, $status:ident, $title:literal, $remedy:literal;)+) => {
        $(pub(in crate::http) static $name: Kind = Kind {
            code: $code, status: StatusCode::$status, title: $title, remedy: $remedy,
        };)+

        /// All of them.
        pub(in crate::http) static ALL: &[&Kind] = &[$(&$name),+];
    };
}

kinds! {
    BAD_REQUEST = "bad-request", BAD_REQUEST, "The request is not what was asked for",
        "The detail names what is wrong with it. Nothing was done.";
    TOO_LARGE = "too-large", PAYLOAD_TOO_LARGE, "The body is too large",
        "Send less. Nothing was done.";
    CONTENT_TYPE = "content-type", UNSUPPORTED_MEDIA_TYPE, "The body is not JSON",
        "Send application/json, or no content type at all. Nothing was done.";
    UNAUTHORIZED = "unauthorized", UNAUTHORIZED, "The admin token is missing or wrong",
        "Send `Authorization: Bearer TOKEN`; the token lies in the data folder's file admin-token \
         unless JACKFIELD_ADMIN_TOKEN set it.";
    NOT_FOUND = "not-found", NOT_FOUND, "There is nothing here",
        "Check the address. A webhook URL is shown once, when its connection is made or its token \
         rotated; requests that reached no connection are listed among the events.";
    METHOD_NOT_ALLOWED = "method-not-allowed", METHOD_NOT_ALLOWED,
        "This address takes other methods", "The header Allow names them.";
    CONFLICT = "conflict", CONFLICT, "Something that exists stands in the way",
        "The detail says what, and what to do.";
    INVALID = "invalid", UNPROCESSABLE_ENTITY, "Some values cannot be taken",
        "The member errors names each one and says what is allowed.";
    INTERNAL = "internal", INTERNAL_SERVER_ERROR, "The host failed",
        "This is a defect of the host itself. Its log says more; the next request is not affected.";
    REJECTED = "rejected", UNPROCESSABLE_ENTITY, "The tracker refused the data",
        "The detail holds the tracker's own words: change the connection's settings or the tracker.";
    CREDENTIALS_REFUSED = "credentials-refused", BAD_GATEWAY, "The tracker refused the credentials",
        "Set the connection's secret anew, or give its user the rights in the tracker, then try \
         the connection.";
    TRACKER_UNAVAILABLE = "tracker-unavailable", SERVICE_UNAVAILABLE, "The tracker is unavailable",
        "Wait, or try the connection to see which step fails.";
    TRACKER_LIMITS = "tracker-limits", SERVICE_UNAVAILABLE, "The tracker limits requests",
        "Wait as long as Retry-After says.";
    UNSUPPORTED = "unsupported", NOT_IMPLEMENTED, "The connector cannot do this",
        "Use another connector, or a version of it that has the interface.";
    CONNECTOR_BROKE = "connector-broke", BAD_GATEWAY, "The connector broke",
        "The event shows the connector's log and calls. Where a limit was hit, the detail names \
         it; an operator may raise it.";
    CONNECTOR_ERROR = "connector-error", BAD_GATEWAY, "The connector reports an error",
        "The detail holds the connector's own words; the event shows its log and calls.";
    OTHER_PROJECT = "other-project", NOT_FOUND, "The connection answers for another project",
        "Ask with the project that the connection is pinned to, or edit the connection's project.";
    COUNT_TOO_LARGE = "count-too-large", BAD_GATEWAY, "A count is too large for Test Manager",
        "The detail names the field. Narrow down what the connection counts.";
    PAUSED = "paused", SERVICE_UNAVAILABLE, "The connection is paused",
        "Resume it: `jackfield connections resume NAME`.";
    NO_CONNECTOR = "no-connector", SERVICE_UNAVAILABLE, "There is no connector to run",
        "Put the connector's file into the plugins folder; `jackfield connectors list` says how \
         it stands.";
    RESTING = "resting", SERVICE_UNAVAILABLE, "The connector failed over and over",
        "It is tried again after Retry-After. The connection's events show why it fails.";
    HOST_FULL = "host-full", SERVICE_UNAVAILABLE, "Too many runs at once",
        "Try again after Retry-After.";
    STORE_DOWN = "store-down", SERVICE_UNAVAILABLE, "The host cannot write its store",
        "Nothing was done. The detail and /readyz say what is wrong; it heals when the disk does.";
    SETTLING = "settling", SERVICE_UNAVAILABLE, "The defect's outcome is not known yet",
        "A create request left and the tracker may still show its defect. Repeat after Retry-After.";
    IN_DOUBT = "in-doubt", CONFLICT, "The defect is in doubt",
        "A create request left and nobody knows what came of it. Look into the tracker, then \
         settle the defect: adopt it, try again, or give up.";
    DEADLINE = "deadline", GATEWAY_TIMEOUT, "No answer in time",
        "The work goes on; the next request returns what it came to.";
}
