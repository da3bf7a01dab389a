//! Lists every kind of problem: code, status, title, remedy. The callers choose the code.

use axum::http::StatusCode;

use crate::domain::OutcomeCode;

/// A kind of problem, which the page `/problems/{code}` explains.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProblemKind {
    /// The last segment of the member `type`.
    pub(super) code: OutcomeCode,
    pub(super) status: StatusCode,
    /// The member `title` (RFC 9457), which is the same for every problem of this kind.
    pub(super) title: &'static str,
    /// What a person can do about the problem.
    pub(super) remedy: &'static str,
}

/// A code without a kind, such as the code of a success, counts as an internal error.
pub(super) fn kind_of_code(code: OutcomeCode) -> &'static ProblemKind {
    ALL.iter().find(|kind| kind.code == code).unwrap_or(&INTERNAL)
}

const INTERNAL: ProblemKind = kind(
    OutcomeCode::InternalError,
    StatusCode::INTERNAL_SERVER_ERROR,
    "Internal error",
    "This is a bug of Jackfield. The log of the server contains the details. Other requests are not \
     affected.",
);

pub(super) static ALL: &[ProblemKind] = &[
    kind(
        OutcomeCode::BadRequest,
        StatusCode::BAD_REQUEST,
        "Bad request",
        "The detail describes the error in the request. Nothing was done.",
    ),
    kind(
        OutcomeCode::PayloadTooLarge,
        StatusCode::PAYLOAD_TOO_LARGE,
        "Payload too large",
        "Send a smaller body. Nothing was done.",
    ),
    kind(
        OutcomeCode::UnsupportedMediaType,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "Unsupported media type",
        "Send JSON as application/json, text/plain or without a content type. Send the body \
         uncompressed, or with the content encoding gzip or deflate. Nothing was done.",
    ),
    kind(
        OutcomeCode::Unauthorized,
        StatusCode::UNAUTHORIZED,
        "Unauthorized",
        "Send `Authorization: Bearer TOKEN`, or sign in at /sign-in. The first admin token is in the \
         file admin-token of the data folder, unless JACKFIELD_ADMIN_TOKEN sets it; `jackfield tokens \
         create` creates other tokens.",
    ),
    kind(
        OutcomeCode::RoleTooLow,
        StatusCode::FORBIDDEN,
        "The account may not do this",
        "The detail describes the right that is missing. Ask an admin for a token with that right.",
    ),
    kind(
        OutcomeCode::CrossSiteRequest,
        StatusCode::FORBIDDEN,
        "The request may come from another site",
        "A change that is sent with a session's cookie must come from a page of this server, and needs the session's CSRF token, in the form \
         field `csrf` or in the header X-CSRF-Token. Load the page again, or use a token instead of \
         the cookie.",
    ),
    kind(
        OutcomeCode::HostNotAllowed,
        StatusCode::MISDIRECTED_REQUEST,
        "The host name is not allowed",
        "A server on a loopback address answers only for localhost, the loopback addresses and the host \
         of public_url, so that another site cannot make its own host name resolve to this server. Add the name to \
         allowed_hosts.",
    ),
    kind(
        OutcomeCode::RateLimited,
        StatusCode::TOO_MANY_REQUESTS,
        "Too many requests",
        "Nothing was done. Wait for the time in Retry-After. The keys requests_per_s and \
         requests_burst in the section [webhook] of the configuration set the rate of each connection.",
    ),
    kind(
        OutcomeCode::NotFound,
        StatusCode::NOT_FOUND,
        "Not found",
        "Check the address. A webhook URL is shown once, when its connection is created or its token \
         is rotated. Requests that matched no connection are listed as events.",
    ),
    kind(
        OutcomeCode::SenderRefused,
        StatusCode::UNAUTHORIZED,
        "The sender is refused",
        "The connection requires a credential from the senders of its webhooks in addition to the URL. \
         The detail describes what is missing or wrong: set it in Test Manager, or change it with \
         `jackfield connections edit NAME --webhook-auth …`.",
    ),
    kind(
        OutcomeCode::AddressRefused,
        StatusCode::FORBIDDEN,
        "The client's address is refused",
        "The connection accepts webhooks only from some addresses. Add the address with `jackfield \
         connections edit NAME --webhook-client …`. If the detail names the address of a reverse \
         proxy, list the proxy in `trusted_proxies`.",
    ),
    kind(
        OutcomeCode::MethodNotAllowed,
        StatusCode::METHOD_NOT_ALLOWED,
        "Method not allowed",
        "The header Allow names the methods that this path supports.",
    ),
    kind(
        OutcomeCode::Conflict,
        StatusCode::CONFLICT,
        "Conflict",
        "The detail describes the conflict, and what to do.",
    ),
    kind(
        OutcomeCode::PreconditionFailed,
        StatusCode::PRECONDITION_FAILED,
        "Precondition failed",
        "Somebody else changed the record after you read it. Nothing was done. Read it again and repeat \
         the change.",
    ),
    kind(
        OutcomeCode::InvalidValues,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid values",
        "The member `errors` names each value that is not valid, and what is allowed.",
    ),
    INTERNAL,
    kind(
        OutcomeCode::Rejected,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Rejected",
        "The tracker refused the data, or does not contain an object that a setting names. The detail names the cause: \
         change the connection's settings or the tracker.",
    ),
    kind(
        OutcomeCode::CredentialsRefused,
        StatusCode::BAD_GATEWAY,
        "The tracker refused the credentials",
        "Set the connection's secret again, or give its user the rights in the tracker; then run \
         `jackfield connections try NAME`.",
    ),
    kind(
        OutcomeCode::TrackerUnavailable,
        StatusCode::SERVICE_UNAVAILABLE,
        "The tracker is unavailable",
        "Wait, or run `jackfield connections try NAME` to see which step fails.",
    ),
    kind(
        OutcomeCode::TrackerRateLimited,
        StatusCode::SERVICE_UNAVAILABLE,
        "The tracker limits the rate of requests",
        "Wait for the time in Retry-After, then send the request again.",
    ),
    kind(
        OutcomeCode::Unsupported,
        StatusCode::NOT_IMPLEMENTED,
        "The connector does not support this",
        "Use another connector, or a version of this connector that exports the interface.",
    ),
    kind(
        OutcomeCode::ConnectorFault,
        StatusCode::BAD_GATEWAY,
        "The connector failed",
        "The event shows the connector's log and requests. If a limit was exceeded, the detail \
         names the limit, and an operator may raise it.",
    ),
    kind(
        OutcomeCode::ConnectorError,
        StatusCode::BAD_GATEWAY,
        "The connector reports an error",
        "The detail is the connector's message. The event shows its log and requests.",
    ),
    kind(
        OutcomeCode::WrongProject,
        StatusCode::NOT_FOUND,
        "The connection answers for another project",
        "Request the project that the connection is restricted to, or edit the connection's project.",
    ),
    kind(
        OutcomeCode::CountTooLarge,
        StatusCode::BAD_GATEWAY,
        "A count is too large for Test Manager",
        "The detail names the field. Change the settings of the connection, so that it counts fewer \
         records.",
    ),
    kind(
        OutcomeCode::Paused,
        StatusCode::SERVICE_UNAVAILABLE,
        "The connection is paused",
        "Run `jackfield connections resume NAME`.",
    ),
    kind(
        OutcomeCode::ConnectorUnavailable,
        StatusCode::SERVICE_UNAVAILABLE,
        "The connector is unavailable",
        "Put the connector's file into the plugins folder; `jackfield connectors list` shows the status \
         of each connector.",
    ),
    kind(
        OutcomeCode::CircuitOpen,
        StatusCode::SERVICE_UNAVAILABLE,
        "The connector failed repeatedly",
        "The next request after the time in Retry-After runs the connector again. The events of the \
         connection show why it fails.",
    ),
    kind(
        OutcomeCode::Overloaded,
        StatusCode::SERVICE_UNAVAILABLE,
        "Too many runs at once",
        "Try again after the time in Retry-After.",
    ),
    kind(
        OutcomeCode::RunStopped,
        StatusCode::SERVICE_UNAVAILABLE,
        "The run was stopped",
        "The host could not renew the run's lease on the defect, so it stopped the run. Try again \
         after the time in Retry-After.",
    ),
    kind(
        OutcomeCode::ShuttingDown,
        StatusCode::SERVICE_UNAVAILABLE,
        "The server is shutting down",
        "Try again after the time in Retry-After. If a defect may have been created, the server \
         searches for it first.",
    ),
    kind(
        OutcomeCode::StoreUnavailable,
        StatusCode::SERVICE_UNAVAILABLE,
        "The store cannot be used",
        "Unless the detail says otherwise, nothing was done. The detail and /readyz describe the \
         error. The server recovers when the disk or the database works again.",
    ),
    kind(
        OutcomeCode::OutcomePending,
        StatusCode::SERVICE_UNAVAILABLE,
        "The outcome is not known yet",
        "A create request was sent, and the tracker's search may not find its defect yet. Send \
         the request again after the time in Retry-After.",
    ),
    kind(
        OutcomeCode::InDoubt,
        StatusCode::CONFLICT,
        "The defect is in doubt",
        "A create request may have been sent, and its outcome is unknown. Search the tracker, then \
         resolve the defect: adopt it, retry, or give up.",
    ),
    kind(
        OutcomeCode::DeadlineExceeded,
        StatusCode::GATEWAY_TIMEOUT,
        "No answer in time",
        "The work continues; the next request returns its result.",
    ),
];

const fn kind(
    code: OutcomeCode,
    status: StatusCode,
    title: &'static str,
    remedy: &'static str,
) -> ProblemKind {
    ProblemKind { code, status, title, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The lines before and after the table in docs/operator.md.
    const TABLE_BEGIN: &str = "<!-- problems: written by UPDATE_DOCS=1 cargo test -p jackfield --lib the_operators_page -->";
    const TABLE_END: &str = "<!-- end of problems -->";

    fn problem_table() -> String {
        let rows = ALL.iter().map(|kind| {
            let (status, fix) = (kind.status.as_u16(), kind.remedy.replace('|', "\\|"));
            format!("| `{}` | {status} | {} | {fix} |\n", kind.code, kind.title)
        });
        let head = "| code | status | title | what to do |\n|---|---|---|---|\n";
        head.to_owned() + &rows.collect::<String>()
    }

    #[test]
    fn the_operators_page_has_each_problem_with_the_same_text() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operator.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (before, rest) = page.split_once(TABLE_BEGIN).unwrap();
        let (written, after) = rest.split_once(TABLE_END).unwrap();
        let expected = format!("\n\n{}\n", problem_table());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, format!("{before}{TABLE_BEGIN}{expected}{TABLE_END}{after}"))
                .unwrap();
        } else {
            assert_eq!(written, expected, "run this test with UPDATE_DOCS=1");
        }
    }
}
