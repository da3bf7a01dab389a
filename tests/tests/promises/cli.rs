//! The output of commands, as a table and as JSON. A command that fails has an exit code other than
//! 0, and says what to do.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use jackfield_tests::{Guest, Setup, TestHost, binary, unreachable_url};
use serde_json::{Value, json};

fn start_host() -> TestHost {
    Setup::new().guests(["instant"]).start()
}

#[track_caller]
fn run(command: &mut Command) -> (Output, String, String) {
    let output = command.stdin(Stdio::null()).output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

#[track_caller]
fn run_ok(host: &TestHost, arguments: &[&str]) -> String {
    let (output, stdout, stderr) = run(&mut host.cli(arguments));
    assert!(output.status.success(), "{arguments:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

#[track_caller]
fn run_ok_json(host: &TestHost, arguments: &[&str]) -> Value {
    let stdout = run_ok(host, &[arguments, &["--json"]].concat());
    let parsed = serde_json::from_str(&stdout);
    parsed.unwrap_or_else(|error| panic!("{arguments:?}: {error} in {stdout}"))
}

/// Checks that the command fails with exit code 1 and one line on stderr that contains these words.
#[track_caller]
fn assert_refused(command: &mut Command, words: &[&str]) {
    let (output, stdout, stderr) = run(command);
    assert_eq!(output.status.code(), Some(1), "{command:?}\n{stdout}\n{stderr}");
    assert_eq!(
        stderr.trim_end().lines().count(),
        1,
        "stderr does not have exactly one line: {stderr}"
    );
    for word in words {
        assert!(stderr.contains(word), "{word:?} is missing in: {stderr}");
    }
}

#[test]
fn a_connection_is_created_used_and_deleted_by_commands() {
    let host = start_host();
    let created = run_ok_json(&host, &["connections", "create", "qa", "--connector", "instant"]);
    let url = created["webhook_url"].as_str().expect("a webhook_url").to_owned();
    assert!(run_ok(&host, &["connections", "list"]).contains("qa"));
    assert_eq!(run_ok_json(&host, &["connections", "show", "qa"])["name"], "qa");
    for (switch, value) in [("--http1-only", true), ("--http1-only=false", false)] {
        run_ok(&host, &["connections", "edit", "qa", switch]);
        assert_eq!(
            run_ok_json(&host, &["connections", "show", "qa"])["http1_only"],
            value,
            "{switch}"
        );
    }

    let answer = run_ok_json(&host, &["trigger", "create-defect", "--url", &url]);
    assert!(answer["name"].as_str().is_some_and(|name| name.starts_with("build")), "{answer}");
    let answer = run_ok_json(&host, &["trigger", "kpis", "--url", &url]);
    assert_eq!(answer["totalDefects"], 0);

    assert!(run_ok(&host, &["events", "list"]).contains("create-defect"));
    let events = run_ok_json(&host, &["events", "list"]);
    let id = events["events"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(run_ok_json(&host, &["events", "show", &id])["id"], id);
    let shown = run_ok(&host, &["connectors", "show", "instant"]);
    assert!(shown.contains(&Guest::named("instant").sha256()), "{shown}");
    assert!(run_ok(&host, &["connectors", "list"]).contains("ready"));

    run_ok(&host, &["connections", "pause", "qa"]);
    assert_eq!(run_ok_json(&host, &["connections", "show", "qa"])["paused"], true);
    let (output, _, stderr) = run(&mut host.cli(&["trigger", "create-defect", "--url", &url]));
    assert!(output.status.code() == Some(1) && stderr.contains("paused"), "{stderr}");
    run_ok(&host, &["connections", "resume", "qa"]);
    let rotated = run_ok_json(&host, &["connections", "rotate-token", "qa"]);
    assert_ne!(rotated["webhook_url"], url);
    run_ok(&host, &["connections", "try", "qa"]);
    run_ok(&host, &["connections", "delete", "qa"]);
    assert!(!run_ok(&host, &["connections", "list"]).contains("qa"));
    assert_refused(&mut host.cli(&["connections", "show", "qa"]), &["qa"]);
}

/// Indented lines are left out.
fn first_column(table: &str) -> Vec<&str> {
    let lines = table.lines().filter(|line| !line.starts_with(' '));
    lines.filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn show_prints_members_in_the_order_of_the_api_and_times_in_one_format() {
    let host = start_host();
    let created = run_ok_json(&host, &["connections", "create", "qa", "--connector", "instant"]);
    let url = created["webhook_url"].as_str().expect("a webhook_url").to_owned();
    run_ok(&host, &["trigger", "create-defect", "--url", &url]);
    let defects = run_ok_json(&host, &["defects", "list"]);
    let defect = defects["defects"][0]["id"].as_str().expect("an id").to_owned();
    for (arguments, first_names) in [
        (["connections", "show", "qa"], ["id", "name", "connector", "status"]),
        (["connectors", "show", "instant"], ["name", "status", "sha256", "version"]),
        (
            ["defects", "show", &defect],
            ["id", "connection", "connection_name", "test_execution_id"],
        ),
    ] {
        let shown = run_ok(&host, &arguments);
        assert_eq!(first_column(&shown)[..4], first_names, "{shown}");
        let json = run_ok(&host, &[&arguments[..], &["--json"]].concat());
        let positions: Vec<_> = first_names
            .iter()
            .map(|name| json.find(&format!("\"{name}\":")).expect("a member"))
            .collect();
        assert!(positions.is_sorted(), "{json}");
        let times =
            shown.split_whitespace().filter(|word| word.contains("T") && word.ends_with('Z'));
        let times: Vec<_> = times.collect();
        assert!(!times.is_empty(), "{shown}");
        for time in times {
            assert_eq!(time.len(), "2026-01-31T08:00:00.000Z".len(), "{time}");
        }
    }
    let checked = run_ok(&host, &["check", &host.plugin("instant").display().to_string()]);
    let first_lines = "test guest 1.0.0\na connector for the tests\n\nIt may\n";
    assert!(checked.starts_with(first_lines), "{checked}");
    let unknown = "0198c0de-0000-7000-8000-000000000000";
    for (what, name) in [
        ("connections", "no-such"),
        ("connectors", "no-such"),
        ("events", unknown),
        ("defects", unknown),
    ] {
        let list = format!("{what} list");
        assert_refused(&mut host.cli(&[what, "show", name]), &[name, &list]);
        let answer = host.admin().get(&format!("/{what}/{name}"));
        assert!(answer.problem(404, "not-found").contains(name), "{answer:?}");
    }
}

/// A command accepts the first characters of an id. A list shortens its ids, but not so much that
/// two lines have the same id.
#[test]
fn an_event_is_selected_by_the_start_of_its_id_or_by_the_option_last() {
    let host = start_host();
    for name in ["qa", "other"] {
        run_ok(&host, &["connections", "create", name, "--connector", "instant"]);
    }
    let mut command = host.cli(&["trigger", "create-defect", "--connection", "qa"]);
    let (_, _, stderr) = run(&mut command);
    let words: Vec<_> = stderr.split_whitespace().collect();
    let ["event", id, "jackfield", "events", "show", short] = words[..] else { panic!("{stderr}") };
    let id = id.trim_end_matches(':');
    assert!(id.starts_with(short) && short.len() < id.len(), "{stderr}");
    run_ok(&host, &["trigger", "create-defect", "--connection", "other"]);

    let shown = run_ok(&host, &["events", "show", short]);
    assert!(shown.contains(id) && shown.contains("create-defect"), "{shown}");
    assert!(shown.contains(" UTC") && shown.contains("HTTP 200 after"), "{shown}");
    assert!(shown.contains("memory_bytes"), "{shown}");
    assert!(!shown.contains('{'), "JSON in a table: {shown}");
    let last = run_ok_json(&host, &["events", "show", "--last", "--connection", "qa"]);
    assert_eq!(last["id"], id);
    assert_ne!(run_ok_json(&host, &["events", "show", "--last"])["id"], id);
    assert_refused(&mut host.cli(&["events", "show", "--last", "--connection", "x"]), &["x"]);

    let listed = run_ok(&host, &["events", "list"]);
    let ids: Vec<_> =
        listed.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids[0].len() == ids[1].len(), "{listed}");
    assert!(id.starts_with(ids[1]) && ids[1].len() < id.len(), "{listed}");

    // An id begins with the time of its creation, so the ids of both events begin with the same
    // characters.
    let ambiguous = host.cli(&["events", "show", &id[..6]]);
    assert_refused(&mut { ambiguous }, &["more than one event", &id[..6], id]);
    let (output, _, stderr) = run(&mut host.cli(&["events", "show", "01a"]));
    assert!(output.status.code() == Some(2) && stderr.contains("too short"), "{stderr}");
    let defects = run_ok_json(&host, &["defects", "list", "--connection", "qa"]);
    let defect = defects["defects"][0]["id"].as_str().expect("an id").to_owned();
    let id_start = defect[..24].replace('-', "");
    assert_eq!(run_ok_json(&host, &["defects", "show", &id_start])["id"], defect);
    assert!(run_ok(&host, &["defects", "release", &id_start]).contains(&defect));
    let unknown = "0198c0de0000";
    assert_refused(&mut host.cli(&["defects", "show", unknown]), &[unknown, "defects list"]);
}

/// If `doctor` has the admin token, it reads the paths of the folders from the running server.
#[test]
fn doctor_checks_the_folders_of_the_running_server() {
    let host = start_host();
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let findings = |command: &mut Command| {
        let (_, stdout, _) = run(command.current_dir(elsewhere.path()));
        let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}"));
        let finding = |check: &str| {
            let mut all = report["findings"].as_array().expect("findings").iter();
            all.find(|finding| finding["check"] == check).cloned().expect("a finding")
        };
        [finding("server"), finding("data folder"), finding("plugins folder")]
    };
    let [server, data, plugins] = findings(&mut host.cli(&["doctor", "--json"]));
    let found = |finding: &Value| finding["found"].as_str().unwrap_or_default().to_owned();
    assert_eq!(server["status"], "ok", "{server}");
    assert_eq!(found(&data), host.data_folder().display().to_string());
    let folder = host.folder().join("plugins").display().to_string();
    assert!(found(&plugins).starts_with(&folder), "{plugins}");
    let mut without_token = host.cli(&["doctor", "--json"]);
    let [server, ..] = findings(without_token.env_remove("JACKFIELD_ADMIN_TOKEN"));
    assert!(server["status"] == "warn" && server["fix"].to_string().contains("--data"), "{server}");
}

/// The value of a text setting may look like a number. The error about a missing setting contains
/// the option that sets it.
#[test]
fn a_setting_is_converted_to_the_type_of_the_schema() {
    let host = Setup::new().guests(["speaks-escapes"]).start();
    let create = |name: &str, more: &[&str]| {
        let words = ["connections", "create", name, "--connector", "speaks-escapes"];
        host.cli(&[&words, more].concat())
    };
    let url = format!("url={}", unreachable_url());
    assert_refused(&mut create("qa", &[]), &["url", "this setting is missing", "--set url=VALUE"]);
    let unknown = ["--set", &url, "--set", "no-such=1", "--set", "key=1"];
    assert_refused(
        &mut create("qa", &unknown),
        &["no-such", "user", "its secrets are key, password", "--secret key"],
    );
    let file = host.folder().join("secret");
    std::fs::write(&file, "k3y-of-the-test").expect("the file is created");
    let [key, password] = ["key", "password"].map(|name| format!("{name}=@{}", file.display()));
    let arguments = [
        "--set",
        &url,
        "--set",
        "user=3.10",
        "--set",
        "succeeds=true",
        "--secret",
        &key,
        "--secret",
        &password,
    ];
    let (output, _, stderr) = run(&mut create("qa", &arguments));
    assert!(output.status.success(), "{stderr}");
    let settings = run_ok_json(&host, &["connections", "show", "qa"])["settings"].clone();
    assert_eq!((&settings["user"], &settings["succeeds"]), (&json!("3.10"), &json!(true)));
    run_ok(&host, &["connections", "edit", "qa", "--set", "user=[7]"]);
    assert_eq!(run_ok_json(&host, &["connections", "show", "qa"])["settings"]["user"], "[7]");
}

#[test]
fn with_the_option_json_an_error_is_json_and_names_the_event() {
    let host = start_host();
    run_ok(&host, &["connections", "create", "qa", "--connector", "instant"]);
    run_ok(&host, &["connections", "pause", "qa"]);
    let failure = |words: &[&str]| {
        let (output, stdout, stderr) = run(&mut host.cli(&[words, &["--json"]].concat()));
        assert_eq!((output.status.code(), &*stdout), (Some(1), ""), "{stderr}");
        serde_json::from_str::<Value>(&stderr).unwrap_or_else(|error| panic!("{error} in {stderr}"))
    };
    let paused = failure(&["trigger", "create-defect", "--connection", "qa"]);
    assert_eq!(
        (&paused["status"], &paused["problem"]["type"]),
        (&json!(503), &json!("/problems/paused"))
    );
    assert!(paused["error"].as_str().is_some_and(|error| error.contains("paused")), "{paused}");
    let id = paused["event"].as_str().expect("an event");
    assert_eq!(run_ok_json(&host, &["events", "show", id])["outcome"], "paused");
    let unknown = failure(&["connections", "show", "no-such"]);
    assert!(unknown["error"].as_str().is_some_and(|error| error.contains("no-such")), "{unknown}");
    let unreadable = failure(&["check", "nowhere.wasm"]);
    assert!(unreadable["error"].is_string() && unreadable.get("event").is_none(), "{unreadable}");
}

#[test]
fn check_prints_the_manifest_of_a_file_or_why_it_is_refused() {
    let host = start_host();
    let path = host.plugin("instant").display().to_string();
    let shown = run_ok(&host, &["check", &path]);
    for word in ["test guest", "1.0.0", "defects", "kpis", "jackfield:connector"] {
        assert!(shown.contains(word), "{word} is missing in: {shown}");
    }
    let manifest = run_ok_json(&host, &["check", &path]);
    assert!(manifest.to_string().contains("test guest"), "{manifest}");
    for name in ["not-a-schema", "describe-spins"] {
        let path = host.folder().join(format!("{name}.wasm"));
        std::fs::write(&path, Guest::named(name).bytes).expect("the file is created");
        let why = if name == "not-a-schema" { "schema" } else { "cpu_ms" };
        assert_refused(&mut host.cli(&["check", &path.display().to_string()]), &[name, why]);
    }
    assert_refused(&mut host.cli(&["check", "nowhere.wasm"]), &["nowhere.wasm"]);
}

#[test]
fn each_reason_for_a_refused_start_is_printed_on_one_line() {
    let host = start_host();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let serve = |words: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(words).current_dir(folder.path());
        command
    };
    std::fs::create_dir(folder.path().join("plugins")).expect("the folder is created");

    std::fs::write(folder.path().join("a.toml"), "publik_url = \"http://a\"\n")
        .expect("the file is created");
    assert_refused(&mut serve(&["--config", "a.toml"]), &["publik_url", "public_url"]);
    std::fs::write(folder.path().join("b.toml"), "[limits]\ncpu = 5\n")
        .expect("the file is created");
    assert_refused(&mut serve(&["--config", "b.toml"]), &["cpu", "cpu_ms"]);
    std::fs::write(folder.path().join("c.toml"), "[limits]\ncpu_ms = 0\n")
        .expect("the file is created");
    assert_refused(&mut serve(&["--config", "c.toml"]), &["cpu_ms"]);
    std::fs::write(folder.path().join("d.toml"), "listen = \n").expect("the file is created");
    assert_refused(&mut serve(&["--config", "d.toml"]), &["d.toml"]);
    assert_refused(&mut serve(&["--config", "nowhere.toml"]), &["nowhere.toml"]);

    let address_in_use = host.url().trim_start_matches("http://");
    assert_refused(
        Command::new(binary())
            .args(["serve", "--listen", address_in_use])
            .current_dir(folder.path()),
        &[address_in_use, "listen"],
    );
    std::fs::write(folder.path().join("file"), "").expect("the file is created");
    assert_refused(&mut serve(&["--data", "file/below"]), &["file/below"]);

    let data = host.data_folder().display().to_string();
    assert_refused(&mut serve(&["--data", &data]), &[&data]);
    host.admin().get("/connections").assert_status(200);
}

#[test]
fn a_command_names_an_unreachable_server_and_a_wrong_token() {
    let host = start_host();
    let url = unreachable_url();
    assert_refused(host.cli(&["connections", "list"]).env("JACKFIELD_URL", &url), &[&url, "serve"]);
    assert_refused(
        host.cli(&["connections", "list"]).env("JACKFIELD_ADMIN_TOKEN", "wrong"),
        &["token"],
    );
    let (output, _, stderr) = run(&mut host.cli(&["conections", "list"]));
    assert_eq!(output.status.code(), Some(2), "an unknown command must have exit code 2: {stderr}");
}

#[test]
fn doctor_reports_each_problem_and_its_fix() {
    let host = start_host();
    let words = ["doctor", "--config", "jackfield.toml", "--data", "data"];
    let findings = |status: &str| {
        let (output, stdout, stderr) = run(host.cli(&words).arg("--json"));
        let report: Value =
            serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
        let all = report["findings"].as_array().expect("findings").clone();
        let found = all.into_iter().filter(|finding| finding["status"] == status);
        let text = |finding: Value| finding["check"].to_string() + &finding["fix"].to_string();
        (output.status.code(), found.map(text).collect())
    };
    let (code, failed): (_, Vec<String>) = findings("fail");
    assert_eq!(
        (code, failed),
        (Some(0), Vec::new()),
        "doctor reports a problem, but the installation is correct"
    );
    let memory = run_ok(&host, &words);
    let memory = memory.lines().find(|line| line.contains("memory for runs")).expect("a line");
    assert!(memory.contains("MiB, 60 % of ") && memory.contains('('), "{memory}");
    let key = host.data("secret-key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644))
        .expect("the mode is set");
    std::fs::write(host.folder().join("jackfield.toml"), "publik_url = 1\n")
        .expect("the file is created");
    let (code, failed) = findings("fail");
    let failed = failed.join(" ");
    assert_eq!(code, Some(1));
    assert!(failed.contains("chmod 600") && failed.contains("configuration"), "{failed}");
    std::fs::remove_file(key).expect("the file is removed");
    assert!(
        findings("fail").1.join(" ").contains("backup"),
        "doctor does not mention the backup when the key is missing"
    );
}

#[test]
fn a_secret_comes_from_a_file_and_not_from_the_command_line() {
    let host = Setup::new().plugin("redmine", &Guest::example("redmine")).start();
    std::fs::write(host.folder().join("key"), "k3y-of-qa\n").expect("the file is created");
    let words = [
        "connections",
        "create",
        "qa",
        "--connector",
        "redmine",
        "--set",
        "url=http://127.0.0.1:9",
        "--set",
        "project=qa",
        "--secret",
        "api-key=@key",
    ];
    let printed = run_ok(&host, &words);
    for word in ["api-key", "http://127.0.0.1:9", "header"] {
        assert!(printed.contains(word), "{word} is missing in: {printed}");
    }
    assert_eq!(
        run_ok_json(&host, &["connections", "show", "qa"])["secrets_set"],
        json!(["api-key"])
    );
    let mut with_plain_secret = words;
    with_plain_secret[2] = "other";
    with_plain_secret[10] = "api-key=k3y-of-qa";
    let (output, _, stderr) = run(&mut host.cli(&with_plain_secret));
    assert!(!output.status.success() && stderr.contains('@'), "{stderr}");
    assert!(!stderr.contains("k3y-of-qa"), "{stderr}");
}
