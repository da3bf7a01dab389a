//! Runs the commands of the author's guide one after the other, as an author copies them, with a
//! script, a server and a real Redmine.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use jackfield_tests::{Redmine, Setup, TestHost, binary, root};

/// Returns the commands of a page below `docs/`, without their comments.
fn commands_of(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs").join(page)).expect(page);
    let blocks = text.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let lines = blocks.flat_map(str::lines);
    lines.map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn each_command_of_the_guide_works() {
    let commands = commands_of("connectors.md");
    assert!(commands.len() >= 20, "{commands:#?}");
    let host = Setup::new().start();
    let redmine = Redmine::shared();
    let project = redmine.project();
    let url = format!("http://{}", redmine.address());
    let settings = project.settings(&url);
    let mut folder = host.folder().to_owned();
    for command in &commands {
        let command = command
            .replace("https://tracker.example.com", &url)
            .replace("project=qa", &format!("project={}", project.id))
            .replace("EVENT", &newest_event_id(&host));
        if command.contains(" invoke ") && !folder.join("api-key.txt").exists() {
            fs::write(folder.join("settings.json"), settings.to_string()).expect("settings");
            let key = redmine.secrets()["api-key"].as_str().expect("a key").to_owned();
            fs::write(folder.join("api-key.txt"), key).expect("a key file");
        }
        let printed = run_command(&host, &folder, &command);
        if command.starts_with("cd ") {
            folder = folder.join("my-tracker");
        }
        if command.starts_with("cp ") {
            host.await_connector("my-tracker", "ready", None);
        }
        if command.contains("invoke my-tracker.js find") {
            assert!(printed.contains(&project.only_issue().id), "{printed}");
        }
    }
    // `invoke` created one issue, `test --record` created one issue, and `trigger` created two.
    assert_eq!(project.issues().len(), 4);
}

fn run_command(host: &TestHost, folder: &Path, command: &str) -> String {
    let programs = binary().parent().expect("a folder").to_owned();
    let path = env::join_paths(
        [programs].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    );
    let mut shell = Command::new("bash");
    shell.args(["-c", command]).current_dir(folder).env("PATH", path.expect("a PATH"));
    shell.env("PLUGINS", host.folder().join("plugins"));
    shell.env("JACKFIELD_URL", host.url()).env("JACKFIELD_ADMIN_TOKEN", host.admin_token());
    let output = shell.output().expect("bash starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{command}\n{printed}");
    printed
}

/// Returns the id of the newest event, or an empty text if there is no event.
fn newest_event_id(host: &TestHost) -> String {
    let events = host.admin().get("/events?limit=1").expect(200);
    events["events"][0]["id"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_page_of_each_language_lists_all_commands_from_new_to_cp() {
    for (language, file, is_built) in [
        ("rust", "my-tracker.wasm", true),
        ("javascript", "my-tracker.wasm", true),
        ("typescript", "my-tracker.wasm", true),
        ("python", "my-tracker.wasm", true),
        ("c", "my-tracker.wasm", true),
        ("go", "my-tracker.wasm", true),
        ("script", "my-tracker.js", false),
    ] {
        let mut expected =
            vec![format!("jackfield new my-tracker --lang {language}"), "cd my-tracker".to_owned()];
        expected.extend(is_built.then(|| "jackfield build".to_owned()));
        expected.push(format!("jackfield check {file}"));
        expected.push(format!("jackfield test {file}"));
        expected.push(format!("cp {file} \"$PLUGINS\""));
        assert_eq!(commands_of(&format!("connectors/{language}.md")), expected);
    }
    let page_of_c = fs::read_to_string(root().join("docs/connectors/c.md"));
    assert!(page_of_c.expect("the page of C").contains("For C++, write `--lang cpp`"));
}
