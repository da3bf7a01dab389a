//! A person replays a recorded event on the console, with JavaScript and without it. The recording
//! that a person downloads from the console can be used with `jackfield invoke --replay`.

use std::fs;

use serde_json::json;

use crate::replay::{script, start_fixture};

use super::browse;

#[test]
fn a_person_replays_an_event_and_sees_the_differences() {
    let fixture = start_fixture();
    fixture.create();
    browse(&fixture.host, "not-recorded", fixture.host.admin_token(), &[]);
    assert!(fixture.host.connection("qa")["recording_until"].is_string());

    fixture.create();
    fixture.install(&script("2.0.0", "?all=1", "Broken", "try { ask('get', '/more'); } catch { }"));
    let before = fixture.request_count();
    browse(&fixture.host, "replay", fixture.host.admin_token(), &[]);
    assert_eq!(fixture.request_count(), before, "a replay sent a request");
}

#[test]
fn without_javascript_an_event_is_replayed_and_downloaded_as_a_fixture() {
    let fixture = start_fixture();
    fixture.record();
    fixture.create();
    let in_folder = |name: &str| fixture.host.folder().join(name);
    let (old_script, recording) = (in_folder("old.js"), in_folder("recording.json"));
    fs::copy(in_folder("plugins/r.js"), &old_script).expect("the script is copied");
    fixture.install(&script("2.0.0", "?all=1", "Broken", "try { ask('get', '/more'); } catch { }"));
    let host = &fixture.host;
    let body = json!({"name": "ann", "role": "operator"});
    let created = host.admin().json("POST", "/tokens", &body).expect(201);
    let token = created["token"].as_str().expect("a token");
    let downloaded = browse(host, "replay-without-scripts", token, &[]);
    fs::write(&recording, downloaded).expect("the file is written");
    let invoke = |connector: &str, call: &str| {
        let replay = ["--replay", recording.to_str().expect("a path")];
        host.run_cli(&[&["invoke", connector, call][..], &replay].concat())
    };
    let (succeeded, printed) = invoke(old_script.to_str().expect("a path"), "create-defect");
    assert!(succeeded && printed.contains("1-ada"), "{printed}");
    let (succeeded, printed) = invoke(old_script.to_str().expect("a path"), "kpis");
    assert!(!succeeded && printed.contains("no recorded run of kpis"), "{printed}");
}
