//! Checks the errors that the helper libraries of the project templates return for a tracker's
//! answers. The errors are the same in each language, and say what to do.

use jackfield_tests::{Reply, ScriptedServer, TestHost};
use serde_json::json;

use super::project::NAME;

/// The head and the body of a tracker's answer, and the problem with which the webhook answers
/// then: its status, its code, and words of its detail.
type TrackerAnswer = (&'static str, &'static str, u16, &'static str, [&'static str; 2]);

/// A page of HTML, which is not the expected JSON.
const SIGN_IN_PAGE: &str = "<html>Please log in</html>";
const TRACKER_ERRORS: &str = "{\"errors\":[\"too long\",\"too late\"]}";
/// The head of an answer whose `Retry-After` is 17 seconds after its `Date`.
const RETRY_AFTER_DATE: &str = "429\r\nretry-after: Wed, 21 Oct 2015 07:28:17 GMT\r\n\
                     date: Wed, 21 Oct 2015 07:28:00 GMT";

/// The answers that the fake tracker sends, one after the other.
const TRACKER_ANSWERS: [TrackerAnswer; 12] = [
    ("401", "", 502, "credentials-refused", ["401", "setting `api-key`"]),
    ("403", SIGN_IN_PAGE, 502, "credentials-refused", ["403", "have the right to do this?"]),
    ("403", "Invalid login", 502, "credentials-refused", ["Invalid login", "right to do this?"]),
    ("404", "", 422, "rejected", ["404", "/users/current.json"]),
    ("404", SIGN_IN_PAGE, 422, "rejected", ["404", "setting `url`"]),
    ("422", TRACKER_ERRORS, 422, "rejected", ["422", "too long; too late"]),
    ("429\r\nretry-after: 17", "", 503, "tracker-rate-limited", ["429", "wait 17 s"]),
    (RETRY_AFTER_DATE, SIGN_IN_PAGE, 503, "tracker-rate-limited", ["429", "wait 17 s"]),
    ("503", SIGN_IN_PAGE, 503, "tracker-unavailable", ["503", "/users/current.json"]),
    (
        "200\r\ncontent-type: text/html",
        SIGN_IN_PAGE,
        503,
        "tracker-unavailable",
        ["JSON", "setting `url`"],
    ),
    ("200", "{\"user\":", 503, "tracker-unavailable", ["JSON", "setting `url`"]),
    ("409", "[]", 422, "rejected", ["409", "/users/current.json"]),
];

/// Sends a request for counts for each of [`TRACKER_ANSWERS`], and one while the tracker resets the
/// connector's TCP connection.
pub(super) fn assert_errors_say_what_to_do(host: &TestHost) {
    let tracker = ScriptedServer::start(|_| Reply::reset());
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let secrets = json!({"api-key": "k3y-of-the-test"});
    let connection = host.add_connection("errors", NAME, settings, secrets);
    let reset = host.kpis(&connection, "any").problem(503, "tracker-unavailable");
    println!("{reset}");
    for (head, body, status, code, words) in TRACKER_ANSWERS {
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        tracker.set_script(move |_| Reply::Raw(answer.clone().into_bytes()));
        let detail = host.kpis(&connection, "any").problem(status, code);
        for word in words {
            assert!(detail.contains(word), "{head}: {word:?} is not in: {detail}");
        }
    }
}
