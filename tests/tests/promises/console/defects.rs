//! A person decides on the console about a defect in doubt, with a keyboard and without a mouse.

use jackfield_tests::{Reply, ScriptedServer, Setup, failed_test, wait_for};
use serde_json::json;

use super::browse;

#[test]
fn a_person_with_a_keyboard_adopts_a_defect_in_doubt() {
    let tracker = ScriptedServer::start(|exchange| {
        if exchange.request.is_post() { Reply::reset() } else { Reply::json(200, "[]") }
    });
    let (host, connection) = Setup::new()
        .config("[create]\nin_doubt_s = \"never\"")
        .start_with_guest("good", json!({"url": tracker.url()}));
    let test = failed_test();
    wait_for("the defect to be in doubt", 30, || {
        (host.create(&connection, &test).status == 409).then_some(())
    });
    browse(&host, "in-doubt", host.admin_token(), &[]);
    assert_eq!(host.create(&connection, &test).expect(200)["id"], "QA-17");
}
