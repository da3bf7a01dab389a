//! The values that a tracker offers for a setting. The server looks them up for a stored
//! connection, and also for a connection that is not stored yet. In a look-up, the server sends a
//! secret only in the place that the connector declares for this secret, such as a header.

use jackfield_tests::{Guest, Reply, ScriptedServer, Setup, TestHost};
use serde_json::{Value, json};

/// The API key that the fake tracker accepts.
const TRACKER_KEY: &str = "k3y-of-the-tracker";

/// Starts a fake tracker that lists two of Redmine's "trackers" (kinds of issues).
fn start_tracker() -> ScriptedServer {
    ScriptedServer::start(|exchange| {
        let request = exchange.request;
        if request.header("x-redmine-api-key") != Some(TRACKER_KEY) {
            return Reply::json(401, "{}");
        }
        match request.target.as_str() {
            "/trackers.json" => {
                let trackers = json!([{"id": 1, "name": "Bug"}, {"id": 2, "name": "Feature"}]);
                Reply::json(200, &json!({"trackers": trackers}).to_string())
            }
            _ => Reply::json(404, "{}"),
        }
    })
}

fn start_host() -> TestHost {
    Setup::new().guests(["instant"]).plugin("redmine", &Guest::example("redmine")).start()
}

/// Returns the body of a look-up for a connection that is not stored yet.
fn choices_body(tracker: &ScriptedServer, setting: &str, key: &str) -> Value {
    let settings = json!({"url": tracker.url()});
    json!({"setting": setting, "settings": settings, "secrets": {"api-key": key}})
}

#[test]
fn a_connection_that_is_not_stored_yet_lists_choices_with_the_entered_secret() {
    let (host, tracker) = (start_host(), start_tracker());
    let admin = host.admin();
    let list_choices = |body: &Value| admin.json("POST", "/connectors/redmine/choices", body);
    let listed = list_choices(&choices_body(&tracker, "tracker", TRACKER_KEY)).expect(200);
    let choices = listed["choices"].as_array().expect("a list").iter();
    let labels: Vec<_> = choices.map(|choice| &choice["label"]).collect();
    assert_eq!(labels, ["Bug", "Feature"], "{listed}");
    assert_eq!(listed["more"], false);
    assert_eq!(tracker.requests().len(), 1);

    let refused = list_choices(&choices_body(&tracker, "tracker", "wrong-key-of-the-tracker"));
    refused.assert_problem(502, "credentials-refused");
    assert!(!refused.body.contains("wrong-key"), "{refused:?}");
    assert!(
        list_choices(&choices_body(&tracker, "url", TRACKER_KEY))
            .problem(422, "invalid-values")
            .contains("url")
    );
    let before = tracker.requests().len();
    let body = json!({"setting": "tracker", "settings": {"url": "http://127.0.0.1:9", "pro": 1}});
    assert!(list_choices(&body).problem(422, "invalid-values").contains("pro"));
    list_choices(&json!({"setting": "tracker", "nothing": 1})).assert_problem(400, "bad-request");
    let missing = admin.json("POST", "/connectors/none/choices", &json!({"setting": "tracker"}));
    missing.assert_problem(404, "not-found");
    assert_eq!(tracker.requests().len(), before, "a refused request reached the tracker");
    assert_eq!(host.admin().get("/connections").expect(200)["connections"], json!([]));

    // A look-up for a connection that is not stored yet sends secrets that a person has just
    // entered. So the audit log has an entry for each such look-up, even for a refused one.
    let audit = host.admin().get("/audit").expect(200);
    let entries = audit["entries"].as_array().expect("a list").iter();
    let look_ups = entries.filter(|entry| entry["action"] == "connector.look-up");
    let mut outcomes: Vec<_> =
        look_ups.map(|entry| (&entry["object"], &entry["outcome"])).collect();
    outcomes.reverse();
    let expected = |code: &str| (json!("redmine"), json!(code));
    let (ok, refused) = (expected("ok"), expected("credentials-refused"));
    assert_eq!(outcomes[..2], [(&ok.0, &ok.1), (&refused.0, &refused.1)], "{audit}");
    assert_eq!(outcomes.len(), 6, "{audit}");
    assert!(!audit.to_string().contains(TRACKER_KEY), "{audit}");
}

#[test]
fn a_stored_connection_lists_choices_with_its_own_secret() {
    let (host, tracker) = (start_host(), start_tracker());
    let settings = json!({"url": tracker.url(), "project": "qa"});
    host.add_connection("qa", "redmine", settings, json!({"api-key": TRACKER_KEY}));
    host.add_connection("plain", "instant", json!({}), json!({}));
    let (succeeded, printed) = host.run_cli(&["connections", "choices", "qa", "tracker"]);
    assert!(
        succeeded && printed.contains("Feature") && !printed.contains(TRACKER_KEY),
        "{printed}"
    );
    let (succeeded, printed) = host.run_cli(&["connections", "choices", "plain", "tracker"]);
    assert!(!succeeded && printed.contains("does not list values"), "{printed}");
    let events = host.admin().get("/events").expect(200);
    assert_eq!(events["events"], json!([]), "a look-up was recorded as an event");
}
