//! What the helper libraries make of the answers of a tracker: in each language the same errors,
//! which say what to do.

use jackfield_tests::{Reply, ScriptedServer, TestHost};
use serde_json::json;

use super::project::NAME;

/// An answer of the tracker; then the status and the kind of the problem that the webhook answers,
/// and words of its detail.
type Case = (&'static str, &'static str, u16, &'static str, [&'static str; 2]);

const HTML: &str = "<html>Please log in</html>";
const WORDS: &str = "{\"errors\":[\"too long\",\"too late\"]}";
/// A time, and one that is 17 seconds earlier.
const TIMES: &str = "429\r\nretry-after: Wed, 21 Oct 2015 07:28:17 GMT\r\n\
                     date: Wed, 21 Oct 2015 07:28:00 GMT";

const CASES: [Case; 12] = [
    ("401", "", 502, "credentials-refused", ["401", "setting `api-key`"]),
    ("403", HTML, 502, "credentials-refused", ["403", "have the right to do this?"]),
    ("403", "Invalid login", 502, "credentials-refused", ["Invalid login", "right to do this?"]),
    ("404", "", 422, "rejected", ["404", "/users/current.json"]),
    ("404", HTML, 422, "rejected", ["404", "setting `url`"]),
    ("422", WORDS, 422, "rejected", ["422", "too long; too late"]),
    ("429\r\nretry-after: 17", "", 503, "tracker-rate-limited", ["429", "wait 17 s"]),
    (TIMES, HTML, 503, "tracker-rate-limited", ["429", "wait 17 s"]),
    ("503", HTML, 503, "tracker-unavailable", ["503", "/users/current.json"]),
    ("200\r\ncontent-type: text/html", HTML, 503, "tracker-unavailable", ["JSON", "setting `url`"]),
    ("200", "{\"user\":", 503, "tracker-unavailable", ["JSON", "setting `url`"]),
    ("409", "[]", 422, "rejected", ["409", "/users/current.json"]),
];

/// Counts with a tracker that answers each request like this.
pub(super) fn say_what_to_do(host: &TestHost) {
    let tracker = ScriptedServer::start(|_| Reply::reset());
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let secrets = json!({"api-key": "k3y-of-the-test"});
    let connection = host.connect("errors", NAME, settings, secrets);
    let reset = host.kpis(&connection, "any").problem(503, "tracker-unavailable");
    println!("{reset}");
    for (head, body, status, kind, words) in CASES {
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        tracker.set_script(move |_| Reply::Raw(answer.clone().into_bytes()));
        let detail = host.kpis(&connection, "any").problem(status, kind);
        for word in words {
            assert!(detail.contains(word), "{head}: {word:?} is not in: {detail}");
        }
    }
}
