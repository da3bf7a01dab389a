//! A script in `plugins/NAME.js` is a connector. The server loads, replaces, refuses and limits a
//! script like a component. Errors of a script name the script's lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jackfield_tests::wasm::push_section;
use jackfield_tests::{
    Connection, Guest, Redmine, Reply, ScriptedServer, Setup, TestHost, binary, failed_test, root,
    sha256, xtask,
};
use serde_json::{Value, json};

/// Returns a script that only counts, with this version. `open` is a JavaScript expression for the
/// number of open defects.
fn counting_script(version: &str, open: &str) -> String {
    format!(
        "const SCHEMA = {{ type: 'object', properties: {{}}, additionalProperties: false }};
export const plugin = {{
  describe: () => ({{ name: 'Counts', version: '{version}', summary: '', settings: JSON.stringify(SCHEMA) }}),
  check: () => 'ready',
  choices: () => ({{ choices: [], more: false }}),
}};
const open = (project) => {open};
export const kpis = {{
  count: (project) => ({{ open: open(project), closed: 0, critical: 0, moderate: 0 }}),
}};
"
    )
}

fn script_path(host: &TestHost, name: &str) -> PathBuf {
    host.folder().join("plugins").join(format!("{name}.js"))
}

/// Writes a script, and waits until this version is ready.
#[track_caller]
fn edit_script(host: &TestHost, name: &str, text: &str) {
    fs::write(script_path(host, name), text).expect("the script is written");
    host.await_connector(name, "ready", Some(&sha256(text.as_bytes())));
}

/// Writes a script that cannot be used. Returns the reason that the server reports.
#[track_caller]
fn write_broken_script(host: &TestHost, name: &str, content: impl AsRef<[u8]>) -> String {
    fs::write(script_path(host, name), content).expect("the script is written");
    let broken = host.await_connector(name, "broken", None);
    broken["error"].as_str().expect("a reason").to_owned()
}

#[track_caller]
fn open_defect_count(host: &TestHost, connection: &Connection, project: &str) -> u64 {
    let counts = host.kpis(connection, project).expect(200);
    counts["openDefects"].as_u64().unwrap_or_else(|| panic!("{counts}"))
}

#[test]
fn an_edited_script_serves_and_a_script_with_a_mistake_does_not_replace_it() {
    let mut host = Setup::new().script("s", &counting_script("1.0.0", "1")).start();
    let connection = host.add_connection("qa", "s", json!({}), json!({}));
    assert_eq!(open_defect_count(&host, &connection, "a"), 1);
    // The edited file has a byte order mark and the line ends of Windows.
    let edited = format!("\u{feff}{}", counting_script("1.1.0", "2").replace('\n', "\r\n"));
    edit_script(&host, "s", &edited);
    assert_eq!(open_defect_count(&host, &connection, "b"), 2);

    let reason = write_broken_script(&host, "s", counting_script("1.2.0", "3 +"));
    assert!(reason.starts_with("s.js:7:30: "), "{reason}");
    assert_eq!(open_defect_count(&host, &connection, "c"), 2);
    let (_, shown) = host.run_cli(&["connectors", "show", "s"]);
    assert!(shown.contains("s.js:7:30") && shown.contains("1.1.0"), "{shown}");
    let (_, listed) = host.run_cli(&["connectors", "list"]);
    assert!(listed.contains("broken"), "{listed}");
    edit_script(&host, "s", &counting_script("1.2.0", "4"));
    assert_eq!(open_defect_count(&host, &connection, "d"), 4);

    host.restart();
    host.await_connector("s", "ready", Some(&sha256(counting_script("1.2.0", "4").as_bytes())));
    assert_eq!(open_defect_count(&host, &connection, "e"), 4);
}

#[test]
fn a_component_and_a_script_with_the_same_name_do_not_replace_each_other() {
    let host = Setup::new().script("s", &counting_script("1.0.0", "1")).start();
    let connection = host.add_connection("qa", "s", json!({}), json!({}));
    let component = Guest::named("instant");
    host.install("s", &component);
    let broken = host.await_connector("s", "broken", None);
    let reason = broken["error"].as_str().expect("a reason");
    assert!(
        reason.contains(".wasm") && reason.contains(".js") && reason.contains("remove one"),
        "{reason}"
    );
    assert_eq!(open_defect_count(&host, &connection, "a"), 1, "the version in use must stay");
    fs::remove_file(script_path(&host, "s")).expect("the script is removed");
    host.await_connector("s", "ready", Some(&component.sha256()));
    let other = host.add_connection("other", "s", json!({}), json!({}));
    host.create(&other, &failed_test()).assert_status(200);
}

#[test]
fn a_script_that_cannot_be_used_is_broken_with_the_reason() {
    let good_script =
        counting_script("1.0.0", "typeof leaked === 'undefined' && [1].map((it) => it)[0]");
    let host = Setup::new().script("good", &good_script).start();
    let connection = host.add_connection("qa", "good", json!({}), json!({}));
    let valid_script = counting_script("1.0.0", "1");
    for (name, script, expected) in [
        ("empty", String::new(), "it does not export `plugin`"),
        (
            "throws",
            format!("{valid_script}\n  throw new Error('no');"),
            "throws.js: Error: no at throws.js:12:",
        ),
        ("recurs", format!("{valid_script}(function f() {{ f(); }})();"), "stack overflow"),
        (
            "allocates",
            format!("{valid_script}for (const all = [];;) all.push(new Array(1e4).fill(1));"),
            "memory_bytes",
        ),
        ("computes", format!("{valid_script}for (;;);"), "cpu_ms"),
        (
            "constant",
            format!("{valid_script}export const defects = 5;"),
            "the export `defects` must be an object",
        ),
        (
            "lacks",
            format!("{valid_script}export const defects = {{ create() {{}} }};"),
            "`defects.find` is not a function",
        ),
        (
            "asynchronous",
            valid_script.replace("count: (", "count: async ("),
            "`kpis.count` is async",
        ),
        ("ends", format!("{valid_script}send(\n\n"), "ends.js:11:6: Unexpected token"),
        ("awaits", format!("{valid_script}await 1;"), "awaits.js:11:1: await cannot be used"),
        (
            "reads",
            format!("import fs from 'fs';{valid_script}"),
            "reads.js:1:1: there is no \"fs\" to import",
        ),
        (
            "typo",
            format!("import {{ sent }} from 'jackfield:connector/http@0.1.0';{valid_script}"),
            "has no `sent`",
        ),
        (
            "dynamic",
            format!("{valid_script}import('jackfield:connector/http@0.1.0');"),
            "import() and import.meta",
        ),
        (
            "mute",
            valid_script.replace("export const kpis", "const kpis"),
            "exports neither `defects` nor `kpis`",
        ),
        (
            "deletes",
            format!(
                "{valid_script}for (const it of Object.getOwnPropertyNames(globalThis)) delete globalThis[it];"
            ),
            "loading the script failed",
        ),
        ("large", valid_script.clone() + &" ".repeat(2 << 20), "has 2097"),
    ] {
        let reason = write_broken_script(&host, name, script);
        assert!(reason.contains(expected), "{name}: {reason}");
    }
    let reason =
        write_broken_script(&host, "binary", [valid_script.as_bytes(), b"// \xff"].concat());
    assert!(reason.contains("not UTF-8"), "{reason}");
    // Each script runs in an instance of its own, so its changes of global objects do not affect
    // other scripts.
    edit_script(
        &host,
        "pollutes",
        &format!("{valid_script}globalThis.leaked = 1; Array.prototype.map = () => [9];"),
    );
    edit_script(&host, "good", &format!("{good_script}// loaded later"));
    assert_eq!(open_defect_count(&host, &connection, "a"), 1);
}

/// The calls use different connections, because the failures of several calls would open the
/// circuit breaker of one connection.
#[test]
fn a_run_of_a_script_is_limited_and_its_errors_name_lines_of_the_script() {
    let text = counting_script("1.0.0", "calls[project]()")
        + "const calls = {
  throws: () => [].missing.member,
  computes: () => { for (;;); },
  allocates: () => { for (const all = [];;) all.push(new Array(1e4).fill(1)); },
  recurs: () => calls.recurs(),
  text: () => '5',
  big: () => 5n,
  promise: () => Promise.resolve(1),
  string: () => { throw 'words'; },
  code: () => { throw { code: 'reject', message: 'no' }; },
  error: () => { throw { code: 'rejected', message: 'no such project', setting: 'url' }; },
  deletes: () => { for (const it of Object.getOwnPropertyNames(globalThis)) delete globalThis[it]; return 5; },
  random: () => Math.floor(Math.random() * 2e9),
  utf8: () => new TextDecoder().decode(new TextEncoder().encode('\u{e4}\u{1f600}')).length,
  query: () => new URLSearchParams([['a', '\u{e4} &']]).toString() === 'a=%C3%A4+%26' ? 7 : 8,
  log: () => { console.warn('seen', { a: 1 }); return 1; },
};
";
    let host = Setup::new()
        .config("[limits]\ncpu_ms = 2000\nkpi_answer_ms = 120000")
        .script("s", &text)
        .start();
    let count = |project: &str| {
        let connection = host.add_connection(project, "s", json!({}), json!({}));
        host.kpis(&connection, project)
    };
    for (project, code, expected) in [
        (
            "throws",
            "connector-fault",
            "the connector threw: cannot read property 'member' of undefined at throws (s.js:12:",
        ),
        ("computes", "connector-fault", "limits.cpu_ms"),
        ("allocates", "connector-fault", "limits.memory_bytes"),
        ("recurs", "connector-fault", "stack"),
        (
            "text",
            "connector-fault",
            "`kpis.count` returned a wrong value: `open` must be a whole number",
        ),
        ("big", "connector-fault", "the BigInt 5"),
        ("promise", "connector-fault", "`open` must be"),
        ("string", "connector-fault", "`kpis.count` threw"),
        ("code", "connector-fault", "`code` must be one of rejected, "),
    ] {
        let detail = count(project).problem(502, code);
        assert!(detail.contains(expected), "{project}: {detail}");
    }
    let detail = count("error").problem(422, "rejected");
    assert!(detail.contains("no such project") && detail.contains("`url`"), "{detail}");
    count("deletes").assert_problem(502, "connector-fault");
    for (project, open) in [("utf8", 3), ("query", 7), ("log", 1)] {
        assert_eq!(count(project).expect(200)["openDefects"], open, "{project}");
    }
    let logged = host.run_cli(&["events", "show", "--last", "--connection", "log"]).1;
    assert!(logged.contains("seen {"), "{logged}");
    let random = host.add_connection("random", "s", json!({}), json!({}));
    let first = host.kpis(&random, "random").expect(200)["openDefects"].clone();
    let other_run = host.add_connection("again", "s", json!({}), json!({}));
    assert_ne!(
        host.kpis(&other_run, "random").expect(200)["openDefects"],
        first,
        "two runs have the same random number"
    );

    let (_, triggered) =
        host.run_cli(&["trigger", "kpis", "--connection", "throws", "--project", "throws"]);
    assert!(triggered.contains("s.js:12:"), "{triggered}");
    let (_, event) = host.run_cli(&["events", "show", "--last", "--connection", "throws"]);
    assert_eq!(
        event.matches("    at throws (s.js:12:").count(),
        1,
        "the event must show the stack once: {event}"
    );
    for noise in ["panicked", "RUST_BACKTRACE", "Exception {", "unreachable"] {
        assert!(!event.contains(noise), "{noise}: {event}");
    }
}

/// The script catches and logs each error except the last one.
#[test]
fn a_wrong_argument_is_an_error_that_names_the_line_the_member_and_the_value() {
    const URL: &str = "url: { type: 'string', title: 'Address', 'jackfield:origin': true }";
    let wrong_calls = [
        (
            "send({ method: 'GET', url })",
            "`send`: `method` must be one of get, head, options, post",
        ),
        ("send()", "`send`: `request` must be an object, but is missing"),
        ("send({ method: 'get' })", "`send`: `url` must be a string, but is missing"),
        (
            "send({ method: 'get', url, query: { a: 1 } })",
            "`query` must be an array of pairs [name, value], but is {\"a\":1}",
        ),
        (
            "send({ method: 'get', url, query: [['a', 1]] })",
            "`query[0][1]` must be a string, but is 1",
        ),
        ("send({ method: 'get', url, headers: [['a']] })", "`headers[0]` must be a pair"),
        ("send({ method: 'post', url, body: 'text' })", "`body` must be { tag, val }"),
        (
            "send({ method: 'post', url, body: { tag: 'xml', val: '' } })",
            "`body.tag` must be one of",
        ),
        (
            "send({ method: 'post', url, body: { tag: 'json', val: {} } })",
            "`body.val` must be a string",
        ),
        ("send({ method: 'post', url, effect: 'none' })", "`effect` must be one of read, prepare"),
        ("send({ method: 'get', url: '/\\ud83d' })", "`url` must be a text without halves"),
        ("log('warning', 'x')", "`log`: `level` must be one of debug, info, warn, error"),
        ("log('warn', { a: 1 })", "`log`: `message` must be a string, but is {\"a\":1}"),
        ("report.title('x')", "`title`: `maxCharacters` must be a whole number"),
        ("report.description('plain')", "`description`: `maxCharacters` must be"),
        ("report.read(-1)", "`read`: `id` must be a whole number"),
        ("settings.get(5)", "`get`: `key` must be a string, but is 5"),
        ("testManager.get()", "`get`: `subject` must be a string, but is missing"),
    ];
    let import =
        |what: &str, from: &str| format!("import {what} from 'jackfield:connector/{from}@0.1.0'; ");
    let imports = import("{ send }", "http")
        + &import("{ log }", "log")
        + &import("* as report", "report")
        + &import("* as settings", "settings")
        + &import("* as testManager", "test-manager");
    let mut text = imports
        + &counting_script("1.0.0", "called()")
            .replace("properties: {}", &format!("properties: {{ {URL} }}"));
    text += "const url = '/', all = [\n";
    let first_line = text.lines().count() + 1;
    for (expression, _) in wrong_calls {
        text += &format!("() => {expression},\n");
    }
    text += "];
function called() {
  send({ method: 'get', url });
  send({ method: 'post', effect: 'read', url, query: null, body: { tag: 'bytes', val: new Uint8Array([65]) } });
  send({ method: 'post', effect: 'read', url, body: { tag: 'bytes', val: [66] } });
  report.description('plain', 50);
  all.forEach((it, i) => { try { it(); } catch (error) { log('info', `${i} ${error} ${error.stack}`); } });
  return all[0]();
}
";
    let tracker = ScriptedServer::start(|_| Reply::new(200, ""));
    let host = Setup::new().script("s", &text).start();
    let connection = host.add_connection("qa", "s", json!({"url": tracker.url()}), json!({}));
    let answer = host.kpis(&connection, "any");
    let detail = answer.problem(502, "connector-fault");
    let expected_detail = "the connector threw: `send`: `method` must be one of get, head, options, post, \
                    put, patch, delete, but is \"GET\" at ";
    assert!(
        detail.contains(expected_detail) && detail.contains(&format!("s.js:{first_line}:")),
        "{detail}"
    );
    assert_eq!(tracker.requests().len(), 3, "an absent or null optional member was refused");
    let event = host.event_of(&answer);
    let log = event["runs"][0]["log"].as_array().expect("the log");
    for (i, (expression, expected_error)) in wrong_calls.iter().enumerate() {
        let begin = format!("{i} TypeError: ");
        let line = log.iter().filter_map(|line| line["message"].as_str());
        let line = line.filter(|line| line.starts_with(&begin)).collect::<String>();
        let place = format!("s.js:{}:", first_line + i);
        assert!(
            line.contains(expected_error) && line.contains(&place),
            "{expression}: {line:?} in {event}"
        );
    }
}

#[test]
fn a_script_that_imports_test_data_needs_consent() {
    let host = Setup::new().script("s", &counting_script("1.0.0", "1")).start();
    let connection = host.add_connection("qa", "s", json!({}), json!({}));
    assert_eq!(host.connection("qa")["grants"]["test_data"], false);
    let script_with_test_data = "import { title } from 'jackfield:connector/report@0.1.0';\n"
        .to_owned()
        + &counting_script("2.0.0", "2 + title(9).length");
    edit_script(&host, "s", &script_with_test_data);
    assert_eq!(open_defect_count(&host, &connection, "a"), 1, "a version without consent serves");
    let needs_consent = host.connection("qa")["needs_consent"].to_string();
    assert!(
        needs_consent.contains("read the data of failed tests in Test Manager"),
        "{needs_consent}"
    );
    let arguments = [
        "connections",
        "accept",
        "qa",
        "--yes",
        "--sha256",
        &sha256(script_with_test_data.as_bytes()),
    ];
    assert!(host.run_cli(&arguments).0);
    assert_eq!(open_defect_count(&host, &connection, "b"), 2);
}

/// Returns whether the program succeeded, and what it printed.
fn run_in_folder(folder: &Path, program: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

fn redmine_script() -> String {
    let source = root().join("guest-examples/javascript/connector.js");
    fs::read_to_string(source).expect("the source of the connector")
}

#[test]
fn an_author_checks_calls_and_replays_a_script() {
    let redmine = Redmine::shared();
    let (project, proxy) = (redmine.project(), ScriptedServer::proxy_to(redmine.address()));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    write("redmine.js", &redmine_script());
    write("settings.json", &project.settings(&proxy.url()).to_string());
    write("event.json", &failed_test().to_string());
    write("key", redmine.secrets()["api-key"].as_str().expect("a key"));
    let run = |arguments: &[&str]| run_in_folder(folder.path(), binary(), arguments);
    let (succeeded, checked) = run(&["check", "redmine.js", "--json"]);
    let checked: Value =
        serde_json::from_str(&checked).unwrap_or_else(|e| panic!("{e}: {checked}"));
    assert!(succeeded && checked["sha256"] == sha256(redmine_script().as_bytes()), "{checked}");
    assert_eq!(checked["interfaces"], json!(["defects", "kpis", "follow-up"]));
    let imports: Vec<_> = checked["imports"].as_array().expect("imports").iter().collect();
    assert_eq!(imports.len(), 3, "not only the imports of the script itself: {imports:?}");

    let call = |more: &[&str]| {
        let common_arguments =
            ["--settings", "settings.json", "--secret", "api-key=@key", "--event", "event.json"];
        run(&[&["invoke", "redmine.js", "create-defect"], &common_arguments[..], more].concat())
    };
    let (succeeded, created) =
        call(&["--record", "recording", "--marker", "abcdefghijkmnpqrstuvwxyz23"]);
    assert!(succeeded, "{created}");
    assert_eq!(project.issues().len(), 1);
    let (succeeded, replayed) =
        call(&["--replay", "recording", "--marker", "abcdefghijkmnpqrstuvwxyz23"]);
    assert!(succeeded && replayed.contains(&project.only_issue().id.to_string()), "{replayed}");
    assert_eq!(project.issues().len(), 1, "a replay reached the tracker");
    let (succeeded, printed) = run(&["check", "settings.json"]);
    assert!(!succeeded && printed.contains(".js"), "{printed}");
}

#[test]
fn the_runner_in_the_repository_is_as_new_as_its_sources() {
    xtask(&["script-runner", "--check"]);
}

/// Two builds of the runner differ in some bytes, so the test compares their behaviour. The test
/// copies the program, and writes the rebuilt runner over the runner in the copy.
#[test]
fn a_rebuilt_runner_behaves_like_the_runner_in_the_repository() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rebuilt = folder.path().join("rebuilt.wasm");
    xtask(&["script-runner", "--output", &rebuilt.display().to_string()]);
    let mut rebuilt = fs::read(rebuilt).expect("the rebuilt runner");
    let stored = root().join("guest-examples/script-runner/script-runner.wasm");
    let stored = fs::read(stored).expect("the runner");
    // A custom section makes the rebuilt runner as long as the stored runner. The stored runner
    // also contains such a section, which reserves space for this purpose.
    let missing = stored.len().checked_sub(rebuilt.len()).expect("the rebuilt runner is longer");
    let content = vec![0; missing.checked_sub(3).expect("room for a section")];
    push_section(&mut rebuilt, 0, &content);
    assert_eq!(rebuilt.len(), stored.len(), "the rebuilt runner does not fit into the program");
    let mut bytes = fs::read(binary()).expect("the program");
    let starts_with_runner = |at: &usize| bytes[*at..].starts_with(&stored);
    let positions: Vec<_> = (0..bytes.len()).filter(starts_with_runner).collect();
    let [at] = positions[..] else {
        panic!("the program has the runner {} times", positions.len())
    };
    bytes[at..at + stored.len()].copy_from_slice(&rebuilt);
    let changed_program = folder.path().join("jackfield");
    fs::copy(binary(), &changed_program).expect("a copy with its permissions");
    fs::write(&changed_program, bytes).expect("the changed copy");

    let summary = "JSON.stringify([...new TextEncoder().encode('\u{e4}')], null, 1) + Math.sign(Math.random())";
    let script =
        counting_script("1.0.0", "1").replace("summary: ''", &format!("summary: {summary}"));
    for (name, text) in [
        ("redmine.js", redmine_script()),
        ("used.js", script),
        ("wrong.js", counting_script("1.0.0", "1 +")),
        ("throws.js", counting_script("1.0.0", "1") + "null.x"),
    ] {
        fs::write(folder.path().join(name), text).expect("a script");
        let report = |program: &Path| {
            let (succeeded, printed) =
                run_in_folder(folder.path(), program, &["check", name, "--json"]);
            let lines = printed.lines().filter(|line| !line.contains("\"compile_ms\""));
            (succeeded, lines.map(str::to_owned).collect::<Vec<_>>())
        };
        let (expected, found) = (report(binary()), report(&changed_program));
        println!("{name}: {}", found.1.first().cloned().unwrap_or_default());
        assert_eq!(expected, found, "{name}");
    }
}
