//! Backup and restoration. The backup contains every row that was stored when it began. A restored
//! server creates no second defect. A refused restoration changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use jackfield_tests::{Guest, RedmineFixture, Setup, TestHost, failed_test};
use serde_json::{Value, json};

/// Returns the JSON that the command prints, or its error.
fn run_json(host: &TestHost, arguments: &[&str]) -> Result<Value, String> {
    let output = host.cli(&[arguments, &["--json"]].concat()).output().expect("the binary starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{printed}{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(serde_json::from_str(&printed).expect("JSON"))
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).expect("a file").permissions().mode() & 0o777
}

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

fn row_count(report: &Value, table: &str) -> u64 {
    let tables = report["tables"].as_array().expect("a list");
    let found = tables.iter().find(|entry| entry["table"] == table).expect("the table");
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
    let is_backup_done = AtomicBool::new(false);
    let (backup, created) = thread::scope(|scope| {
        let clicks = scope.spawn(|| {
            let mut created = Vec::new();
            while !is_backup_done.load(Ordering::Relaxed) || created.is_empty() {
                let test = failed_test();
                let defect = host.create(&connection, &test).expect(200)["id"].clone();
                created.push((test, defect));
            }
            created
        });
        let backup = run_json(&host, &["backup", "saved", "--with-key"]).expect("a backup");
        is_backup_done.store(true, Ordering::Relaxed);
        (backup, clicks.join().expect("no click failed"))
    });
    for (test, defect) in created {
        tests.push(test);
        defects.push(defect);
    }
    assert!(
        row_count(&backup, "defects") >= 3 && row_count(&backup, "connections") == 1,
        "{backup}"
    );
    assert_eq!(backup["versions"], 1);
    let backup_folder = host.folder().join("saved");
    assert!(
        ["jackfield.db", "secret-key"].map(|file| mode(&backup_folder.join(file))) == [0o600; 2]
    );
    make_read_only(&backup_folder);

    // The machine is lost. The new data folder does not contain the file with the count of starts,
    // by which a server notices that an older database replaced its own. `restore` must write this
    // file.
    host.kill();
    fs::rename(host.data_folder(), host.folder().join("lost")).expect("another name");
    let restored = run_json(&host, &["restore", "saved"]).expect("the backup is restored");
    let data = host.data_folder();
    assert!(["jackfield.db", "secret-key"].map(|file| mode(&data.join(file))) == [0o600; 2]);
    for table in backup["tables"].as_array().expect("a list") {
        let name = table["table"].as_str().expect("a name");
        assert_eq!(row_count(&restored, name), row_count(&backup, name), "{name}");
    }
    host.restart();
    for (test, defect) in tests.iter().zip(&defects) {
        let repeated = host.create_until_final(&connection, test).expect("a defect");
        assert_eq!(repeated["id"], *defect);
        assert_eq!(project.issues_of(test).len(), 1, "{test}");
    }
    let audit = host.admin().get("/audit?action=backup.restore").expect(200);
    assert_eq!(audit["entries"].as_array().map(Vec::len), Some(1), "{audit}");
}

#[test]
fn a_refused_restoration_changes_nothing() {
    let (mut host, _) = Setup::new().start_with_guest("instant", json!({}));
    run_json(&host, &["backup", "saved"]).expect("a backup");
    run_json(&host, &["backup", "keyed", "--with-key"]).expect("a backup");
    let error = run_json(&host, &["backup", "saved"]).expect_err("the folder is not empty");
    assert!(error.contains("is not empty"), "{error}");
    let error = run_json(&host, &["restore", "saved", "--replace"]).expect_err("a server runs");
    assert!(error.contains("another jackfield uses"), "{error}");
    assert!(host.stop().success());

    // Each command writes the id of its process into the file `lock`.
    let files = || {
        let mut files = host.files_in_data_folder();
        files.retain(|(name, _)| !name.ends_with("/lock"));
        files
    };
    let before = files();
    let assert_refused = |arguments: &[&str], why: &str| {
        let error = run_json(&host, &[&["restore"], arguments].concat()).expect_err(why);
        assert!(error.contains(why), "{error}");
    };
    assert_refused(&["saved"], "use --replace");
    assert_refused(&["plugins"], "not a complete backup");
    let damaged = host.folder().join("damaged");
    fs::create_dir(&damaged).expect("a folder");
    let content = fs::read(host.folder().join("saved/jackfield.db")).expect("a database");
    fs::write(damaged.join("jackfield.db"), b"no database").expect("a file");
    assert_refused(&["damaged", "--replace"], "not a database");
    fs::write(damaged.join("jackfield.db"), &content[..content.len() / 2]).expect("a file");
    assert_refused(&["damaged", "--replace"], "malformed");
    assert!(files() == before, "a refused restoration changed a file");

    // First the new data folder has no key. Then it has another key.
    assert_refused(&["saved", "--data", "new"], "the key is neither in the backup nor in");
    fs::write(host.folder().join("new/secret-key"), "0".repeat(64)).expect("a key");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(host.folder().join("new/secret-key"), private).expect("a mode");
    assert_refused(&["saved", "--data", "new"], "another key");
    assert_refused(&["keyed", "--data", "new"], "is not the key of the backup");
    run_json(&host, &["restore", "keyed", "--data", "new", "--replace"])
        .expect("the key is replaced");

    let replaced =
        run_json(&host, &["restore", "saved", "--replace"]).expect("the backup is restored");
    let old_database = replaced["replaced"].as_str().expect("the replaced database");
    assert!(host.folder().join(old_database).exists(), "{old_database}");
    host.restart();
    assert_eq!(host.admin().get("/connections").expect(200)["connections"][0]["name"], "qa");
}
