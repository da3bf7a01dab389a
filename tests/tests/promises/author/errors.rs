//! The errors that the helper libraries return for a tracker's answers. They are the same in each
//! language, and say what to do.

use jackfield_tests::{Reply, ScriptedServer, TestHost};
use serde_json::json;

use super::project::NAME;

/// The head and the body of a tracker's answer; then the status and the code of the problem that
/// the webhook answers, and words of its detail.
type Case = (&'static str, &'static str, u16, &'static str, [&'static str; 2]);

const HTML: &str = "<html>Please log in</html>";
const TRACKER_ERRORS: &str = "{\"errors\":[\"too long\",\"too late\"]}";
/// An answer whose `Retry-After` is 17 seconds after its `Date`.
const RETRY_AFTER_DATE: &str = "429\r\nretry-after: Wed, 21 Oct 2015 07:28:17 GMT\r\n\
                     date: Wed, 21 Oct 2015 07:28:00 GMT";

const CASES: [Case; 12] = [
    ("401", "", 502, "credentials-refused", ["401", "setting `api-key`"]),
    ("403", HTML, 502, "credentials-refused", ["403", "have the right to do this?"]),
    ("403", "Invalid login", 502, "credentials-refused", ["Invalid login", "right to do this?"]),
    ("404", "", 422, "rejected", ["404", "/users/current.json"]),
    ("404", HTML, 422, "rejected", ["404", "setting `url`"]),
    ("422", TRACKER_ERRORS, 422, "rejected", ["422", "too long; too late"]),
    ("429\r\nretry-after: 17", "", 503, "tracker-rate-limited", ["429", "wait 17 s"]),
    (RETRY_AFTER_DATE, HTML, 503, "tracker-rate-limited", ["429", "wait 17 s"]),
    ("503", HTML, 503, "tracker-unavailable", ["503", "/users/current.json"]),
    ("200\r\ncontent-type: text/html", HTML, 503, "tracker-unavailable", ["JSON", "setting `url`"]),
    ("200", "{\"user\":", 503, "tracker-unavailable", ["JSON", "setting `url`"]),
    ("409", "[]", 422, "rejected", ["409", "/users/current.json"]),
];

/// Requests counts from a tracker that gives each of these answers, and checks the problems.
pub(super) fn assert_errors_say_what_to_do(host: &TestHost) {
    let tracker = ScriptedServer::start(|_| Reply::reset());
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let secrets = json!({"api-key": "k3y-of-the-test"});
    let connection = host.add_connection("errors", NAME, settings, secrets);
    let reset = host.kpis(&connection, "any").problem(503, "tracker-unavailable");
    println!("{reset}");
    for (head, body, status, code, words) in CASES {
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        tracker.set_script(move |_| Reply::Raw(answer.clone().into_bytes()));
        let detail = host.kpis(&connection, "any").problem(status, code);
        for word in words {
            assert!(detail.contains(word), "{head}: {word:?} is not in: {detail}");
        }
    }
}
