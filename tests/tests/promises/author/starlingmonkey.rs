//! A JavaScript connector on the engine StarlingMonkey. The template works unchanged. A connector
//! can also send its requests with `fetch`; the host adds the secret to such a request, too.

use jackfield_tests::{Reply, ScriptedServer};
use serde_json::json;

use super::project::{NAME, Project};

/// JavaScript code that replaces the first line of the template's function `count`: a function
/// `count` that uses `fetch`, and a new first line that renames the template's function to
/// `counted`.
const COUNT_WITH_FETCH: &str = "\
  async count(_project) {
    const address = new URL('users/fetched.json', given().url);
    const { user: fetched } = await (await fetch(address)).json();
    return { open: fetched.login.length, closed: 0, critical: 0, moderate: 0 };
  },

  counted(_project) {";

#[test]
fn a_connector_on_starlingmonkey_can_fetch() {
    let project = Project::new("javascript", &["--engine", "starlingmonkey"]);
    project.build();
    let file = format!("{NAME}.wasm");
    let tested = project.json("test", &[&file, "--secret", "api-key=@api-key.txt"]);
    assert_eq!((&tested["findings"], &tested["not_run"]), (&json!(0), &json!(0)), "{tested}");

    project.edit("connector.js", "  count(_project) {", COUNT_WITH_FETCH);
    project.build();
    let host = super::start_server_with_connector(&project, &file);
    let tracker =
        ScriptedServer::start(|_| Reply::json(200, "{\"user\":{\"login\":\"jackfield\"}}"));
    let settings = json!({"url": tracker.url() + "/", "project": "qa"});
    let secrets = json!({"api-key": "k3y-of-the-test"});
    let connection = host.add_connection("qa", NAME, settings, secrets);
    let counts = host.kpis(&connection, "any").expect(200);
    assert_eq!(counts["openDefects"], "jackfield".len(), "{counts}");
    let request = tracker.last_request();
    assert_eq!(request.target, "/users/fetched.json");
    assert_eq!(request.header("x-redmine-api-key"), Some("k3y-of-the-test"), "{request:?}");
}
