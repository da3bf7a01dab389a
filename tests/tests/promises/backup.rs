//! Backup and restoration on a real Redmine: a backup that is taken while failed tests arrive has
//! every row of its moment, a restored server creates no second defect, and a restoration that is
//! refused changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use jackfield_tests::{Guest, RedmineFixture, Setup, TestHost, failed_test};
use serde_json::{Value, json};

/// Runs a command of the program with `--json`; returns what it prints, or its error.
fn run(host: &TestHost, arguments: &[&str]) -> Result<Value, String> {
    let output = host.cli(&[arguments, &["--json"]].concat()).output().expect("the binary starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{printed}{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(serde_json::from_str(&printed).expect("JSON"))
}

/// The mode of a file, without its kind.
fn mode(file: &Path) -> u32 {
    fs::metadata(file).expect("a file").permissions().mode() & 0o777
}

/// Makes every file in a folder read-only.
fn make_read_only(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            make_read_only(&path);
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("a mode");
        }
    }
}

fn rows(report: &Value, table: &str) -> u64 {
    let tables = report["tables"].as_array().expect("a list");
    let found = tables.iter().find(|it| it["table"] == table).expect("the table");
    found["rows"].as_u64().expect("a number")
}

#[test]
fn a_restored_backup_has_every_row_and_leads_to_no_second_defect() {
    let fixture = Setup::new().start_with_redmine("redmine", &Guest::example("redmine"), json!({}));
    let RedmineFixture { mut host, project, connection, .. } = fixture;
    let mut tests: Vec<Value> = (0..3).map(|_| failed_test()).collect();
    let mut defects: Vec<Value> = Vec::new();
    for test in &tests {
        defects.push(host.create(&connection, test).expect(200)["id"].clone());
    }
    let is_over = AtomicBool::new(false);
    let (backup, created) = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut created = Vec::new();
            while !is_over.load(Ordering::Relaxed) || created.is_empty() {
                let test = failed_test();
                let defect = host.create(&connection, &test).expect(200)["id"].clone();
                created.push((test, defect));
            }
            created
        });
        let backup = run(&host, &["backup", "saved", "--with-key"]).expect("a backup");
        is_over.store(true, Ordering::Relaxed);
        (backup, load.join().expect("no click failed"))
    });
    for (test, defect) in created {
        tests.push(test);
        defects.push(defect);
    }
    assert!(rows(&backup, "defects") >= 3 && rows(&backup, "connections") == 1, "{backup}");
    assert_eq!(backup["versions"], 1);
    let saved = host.folder().join("saved");
    assert!(["jackfield.db", "secret-key"].map(|file| mode(&saved.join(file))) == [0o600; 2]);
    make_read_only(&saved);

    // The machine is lost: a new data folder, without the count of starts.
    host.kill();
    fs::rename(host.data_folder(), host.folder().join("lost")).expect("another name");
    let restored = run(&host, &["restore", "saved"]).expect("the backup is restored");
    let data = host.data_folder();
    assert!(["jackfield.db", "secret-key"].map(|file| mode(&data.join(file))) == [0o600; 2]);
    for table in backup["tables"].as_array().expect("a list") {
        let name = table["table"].as_str().expect("a name");
        assert_eq!(rows(&restored, name), rows(&backup, name), "{name}");
    }
    host.restart();
    for (test, defect) in tests.iter().zip(&defects) {
        let again = host.create_until_final(&connection, test).expect("a defect");
        assert_eq!(again["id"], *defect);
        assert_eq!(project.issues_of(test).len(), 1, "{test}");
    }
    let audit = host.admin().get("/audit?action=backup.restore").expect(200);
    assert_eq!(audit["entries"].as_array().map(Vec::len), Some(1), "{audit}");
}

#[test]
fn a_restoration_that_is_refused_changes_nothing() {
    let (mut host, _) = Setup::new().start_with("instant", json!({}));
    run(&host, &["backup", "saved"]).expect("a backup");
    run(&host, &["backup", "keyed", "--with-key"]).expect("a backup");
    let full = run(&host, &["backup", "saved"]).expect_err("the folder is full");
    assert!(full.contains("is not empty"), "{full}");
    let running = run(&host, &["restore", "saved", "--replace"]).expect_err("a server runs");
    assert!(running.contains("another jackfield uses"), "{running}");
    assert!(host.stop().success());

    // Each command writes its process into the lock file.
    let files = || {
        let mut files = host.files_in_data_folder();
        files.retain(|(name, _)| !name.ends_with("/lock"));
        files
    };
    let before = files();
    let refused = |arguments: &[&str], why: &str| {
        let error = run(&host, &[&["restore"], arguments].concat()).expect_err(why);
        assert!(error.contains(why), "{error}");
    };
    refused(&["saved"], "use --replace");
    refused(&["plugins"], "not a complete backup");
    let damaged = host.folder().join("damaged");
    fs::create_dir(&damaged).expect("a folder");
    let content = fs::read(host.folder().join("saved/jackfield.db")).expect("a database");
    fs::write(damaged.join("jackfield.db"), b"no database").expect("a file");
    refused(&["damaged", "--replace"], "not a database");
    fs::write(damaged.join("jackfield.db"), &content[..content.len() / 2]).expect("a file");
    refused(&["damaged", "--replace"], "malformed");
    assert!(files() == before, "a refused restoration changed a file");

    // Without its key, and with another one.
    refused(&["saved", "--data", "new"], "has the key");
    fs::write(host.folder().join("new/secret-key"), "0".repeat(64)).expect("a key");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(host.folder().join("new/secret-key"), private).expect("a mode");
    refused(&["saved", "--data", "new"], "another key");
    refused(&["keyed", "--data", "new"], "is not the key of the backup");
    run(&host, &["restore", "keyed", "--data", "new", "--replace"]).expect("the key is replaced");

    let replaced = run(&host, &["restore", "saved", "--replace"]).expect("the backup is restored");
    let kept = replaced["replaced"].as_str().expect("the database before");
    assert!(host.folder().join(kept).exists(), "{kept}");
    host.restart();
    assert_eq!(host.admin().get("/connections").expect(200)["connections"][0]["name"], "qa");
}
