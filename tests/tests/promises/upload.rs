//! The server puts an uploaded connector into the plugins folder, and removes a connector on
//! request. An uploaded file that cannot be used changes nothing.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use jackfield_tests::{Answer, Guest, Setup, TestHost, failed_test, wait_for};
use serde_json::json;

fn guest_with_build(number: u32) -> Guest {
    Guest::named("instant").with_build(number)
}

fn upload(host: &TestHost, name: &str, content: &[u8]) -> Answer {
    host.admin().send("PUT", &format!("/connectors/{name}"), &[], content)
}

/// Returns the sorted names of the files in the plugins folder.
fn plugin_files(host: &TestHost) -> Vec<String> {
    let entries = fs::read_dir(host.folder().join("plugins")).expect("the folder");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("an entry").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn an_uploaded_version_is_in_use_when_the_answer_arrives() {
    let host = Setup::new().plugin("c", &guest_with_build(1)).start();
    let connection = host.add_connection("qa", "c", json!({}), json!({}));
    let answer = upload(&host, "c", &guest_with_build(2).bytes).expect(200);
    assert_eq!(answer["sha256"], guest_with_build(2).sha256(), "{answer}");
    assert_eq!(answer["from"], guest_with_build(1).sha256(), "{answer}");
    assert!(answer["file"].as_str().is_some_and(|it| it.ends_with("plugins/c.wasm")), "{answer}");
    let created = host.create(&connection, &failed_test()).expect(200);
    assert_eq!(created["name"], "build 2");
    let new_connector = upload(&host, "other", &guest_with_build(3).bytes).expect(201);
    assert_eq!((&new_connector["status"], &new_connector["from"]), (&json!("ready"), &json!(null)));
    assert_eq!(plugin_files(&host), ["c.wasm", "other.wasm"]);
    let rolled_back = host.admin().json("POST", "/connectors/c/rollback", &json!({})).expect(200);
    assert_eq!(rolled_back["sha256"], guest_with_build(1).sha256());
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_the_answer_says_why() {
    let host = Setup::new()
        .plugin("c", &guest_with_build(1))
        .config(
            "[connectors.small.limits]\n\
        component_bytes = 2048",
        )
        .start();
    let refused = |name: &str, content: &[u8]| {
        let answer = upload(&host, name, content);
        let detail = answer.problem(422, "invalid-values");
        let error_name = answer.json()["errors"][0]["name"].clone();
        (detail, error_name)
    };
    for (content, expected) in [
        (&b"\0asm\x01\0\0\0"[..], "core module"),
        (b"", "empty"),
        (b"\xff\xfe\0", "magic bytes"),
        (b"export const plugin = {;", "c.js:1:"),
    ] {
        let (detail, error_name) = refused("c", content);
        assert!(
            detail.contains(expected) && error_name == "file",
            "{expected}: {detail} {error_name}"
        );
    }
    let with_kind = host.admin().send("PUT", "/connectors/c?kind=component", &[], b"text");
    assert!(with_kind.problem(422, "invalid-values").contains("magic bytes"));
    assert_eq!(refused("No%20Name", &guest_with_build(2).bytes).1, "name");
    let large = upload(&host, "small", &guest_with_build(2).bytes);
    assert!(large.problem(413, "payload-too-large").contains("2 KiB"));
    host.admin().send("PUT", "/connectors/c?king=x", &[], b"").assert_problem(400, "bad-request");
    assert_eq!(plugin_files(&host), ["c.wasm"]);
    let connector = host.admin().get("/connectors/c").expect(200);
    assert_eq!((&connector["status"], &connector["error"]), (&json!("ready"), &json!(null)));
}

#[test]
fn an_interrupted_upload_leaves_no_file() {
    let host = Setup::new().plugin("c", &guest_with_build(1)).start();
    let content = guest_with_build(2).bytes;
    let address = host.url().trim_start_matches("http://");
    let mut client = TcpStream::connect(address).expect("a TCP connection");
    let head = format!(
        "PUT /api/v1/connectors/c HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-length: {}\r\n\r\n",
        host.admin_token(),
        content.len()
    );
    client.write_all(head.as_bytes()).expect("the head");
    client.write_all(&content[..content.len() / 2]).expect("half of the file");
    drop(client);
    // The interrupted upload does not affect the next upload with the same name.
    upload(&host, "c", &guest_with_build(3).bytes).assert_status(200);
    assert_eq!(plugin_files(&host), ["c.wasm"]);
    let spool = || fs::read_dir(host.data("spool")).expect("the folder").count();
    wait_for("an empty spool", 10, || (spool() == 0).then_some(()));
}

#[test]
fn a_connector_is_uploaded_and_removed_by_the_command_line() {
    let host = Setup::new().plugin("c", &guest_with_build(1)).start();
    let connection = host.add_connection("qa", "c", json!({}), json!({}));
    let script = "export const plugin = { describe: () => ({ name: 'S', version: '1.0.0', summary: '', \
        settings: '{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}' }), \
        check: () => 'ready', choices: () => ({ choices: [], more: false }) };\n\
        export const kpis = { count: () => ({ open: 7, closed: 0, critical: 0, moderate: 0 }) };\n";
    fs::write(host.folder().join("mine.js"), script).expect("the script is written");
    let (succeeded, printed) = host.run_cli(&["connectors", "upload", "mine.js", "--name", "c"]);
    assert!(succeeded && printed.contains("c 1.0.0"), "{printed}");
    assert_eq!(plugin_files(&host), ["c.js"], "the component was not replaced");
    assert_eq!(host.kpis(&connection, "a").expect(200)["openDefects"], 7);
    for (file, expected) in [("jackfield.toml", ".wasm, or .js"), ("none.wasm", "cannot read")] {
        let (succeeded, printed) = host.run_cli(&["connectors", "upload", file]);
        assert!(!succeeded && printed.contains(expected), "{printed}");
    }

    let (succeeded, printed) = host.run_cli(&["connectors", "remove", "c"]);
    assert!(!succeeded && printed.contains("`c` is used by qa"), "{printed}");
    let (succeeded, printed) = host.run_cli(&["connectors", "remove", "c", "--force"]);
    assert!(succeeded && printed.contains("brings it back"), "{printed}");
    host.admin().get("/connectors/c").assert_problem(404, "not-found");
    host.create(&connection, &failed_test()).assert_problem(503, "connector-unavailable");
    let (succeeded, printed) = host.run_cli(&["connectors", "remove", "c"]);
    assert!(!succeeded && printed.contains("there is no connector"), "{printed}");
    let (succeeded, printed) = host.run_cli(&["connectors", "rollback", "c"]);
    assert!(succeeded, "{printed}");
    assert_eq!(plugin_files(&host).len(), 1);
}

#[test]
fn a_folder_that_cannot_be_written_is_named_with_the_fix() {
    let host = Setup::new().plugin("c", &guest_with_build(1)).start();
    let plugins = host.folder().join("plugins");
    let set_mode =
        |mode| fs::set_permissions(&plugins, fs::Permissions::from_mode(mode)).expect("set");
    set_mode(0o500);
    // Root may write in spite of the mode. If the test runs as root, the upload must succeed.
    let may_write = fs::write(plugins.join("probe"), "").is_ok();
    let answers = (
        upload(&host, "c", &guest_with_build(2).bytes),
        host.admin().send("DELETE", "/connectors/c", &[], b""),
    );
    set_mode(0o700);
    if may_write {
        answers.0.assert_status(200);
        return;
    }
    assert!(answers.0.problem(409, "conflict").contains("give the server's user the right"));
    assert!(answers.1.problem(409, "conflict").contains("remove the file yourself"));
    assert_eq!(
        host.admin().get("/connectors/c").expect(200)["sha256"],
        guest_with_build(1).sha256()
    );
}
