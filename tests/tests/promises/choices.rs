//! A person who sets up a connection chooses from what the tracker has: for a stored connection,
//! and before anything is stored. Secrets go where the connector says, and nowhere else.

use jackfield_tests::{Guest, Reply, ScriptedServer, Setup, TestHost};
use serde_json::{Value, json};

const KEY: &str = "k3y-of-the-tracker";

fn tracker() -> ScriptedServer {
    ScriptedServer::start(|exchange| {
        let request = exchange.request;
        if request.header("x-redmine-api-key") != Some(KEY) {
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

fn host() -> TestHost {
    Setup::new().guests(["instant"]).plugin("redmine", &Guest::example("redmine")).start()
}

fn of_new(tracker: &ScriptedServer, setting: &str, key: &str) -> Value {
    let settings = json!({"url": tracker.url()});
    json!({"setting": setting, "settings": settings, "secrets": {"api-key": key}})
}

#[test]
fn a_new_connection_is_offered_what_the_tracker_has_before_it_is_stored() {
    let (host, tracker) = (host(), tracker());
    let admin = host.admin();
    let ask = |body: &Value| admin.json("POST", "/connectors/redmine/choices", body);
    let listed = ask(&of_new(&tracker, "tracker", KEY)).expect(200);
    let labels: Vec<_> =
        listed["choices"].as_array().expect("a list").iter().map(|it| &it["label"]).collect();
    assert_eq!(labels, ["Bug", "Feature"], "{listed}");
    assert_eq!(listed["more"], false);
    assert_eq!(tracker.requests().len(), 1);

    let refused = ask(&of_new(&tracker, "tracker", "wrong-key-of-the-tracker"));
    refused.assert_problem(502, "credentials-refused");
    assert!(!refused.body.contains("wrong-key"), "{refused:?}");
    assert!(ask(&of_new(&tracker, "url", KEY)).problem(422, "invalid-values").contains("url"));
    let before = tracker.requests().len();
    let body = json!({"setting": "tracker", "settings": {"url": "http://127.0.0.1:9", "pro": 1}});
    assert!(ask(&body).problem(422, "invalid-values").contains("pro"));
    ask(&json!({"setting": "tracker", "nothing": 1})).assert_problem(400, "bad-request");
    let missing = admin.json("POST", "/connectors/none/choices", &json!({"setting": "tracker"}));
    missing.assert_problem(404, "not-found");
    assert_eq!(tracker.requests().len(), before, "a refused request reached the tracker");
    assert_eq!(host.admin().get("/connections").expect(200)["connections"], json!([]));

    // It sends secrets that no connection stores, so the audit log says who looked up what.
    let audit = host.admin().get("/audit").expect(200);
    let entries = audit["entries"].as_array().expect("a list").iter();
    let look_ups = entries.filter(|it| it["action"] == "connector.look-up");
    let mut outcomes: Vec<_> = look_ups.map(|it| (&it["object"], &it["outcome"])).collect();
    outcomes.reverse();
    let of_redmine = |code: &str| (json!("redmine"), json!(code));
    let (ok, refused) = (of_redmine("ok"), of_redmine("credentials-refused"));
    assert_eq!(outcomes[..2], [(&ok.0, &ok.1), (&refused.0, &refused.1)], "{audit}");
    assert_eq!(outcomes.len(), 6, "{audit}");
    assert!(!audit.to_string().contains(KEY), "{audit}");
}

#[test]
fn a_stored_connection_lists_choices_with_its_own_secret() {
    let (host, tracker) = (host(), tracker());
    let settings = json!({"url": tracker.url(), "project": "qa"});
    host.connect("qa", "redmine", settings, json!({"api-key": KEY}));
    host.connect("plain", "instant", json!({}), json!({}));
    let (done, printed) = host.run_cli(&["connections", "choices", "qa", "tracker"]);
    assert!(done && printed.contains("Feature") && !printed.contains(KEY), "{printed}");
    let (done, printed) = host.run_cli(&["connections", "choices", "plain", "tracker"]);
    assert!(!done && printed.contains("does not list values"), "{printed}");
    let events = host.admin().get("/events").expect(200);
    assert_eq!(events["events"], json!([]), "a look-up is not an event");
}
