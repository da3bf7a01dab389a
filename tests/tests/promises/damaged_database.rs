//! A data folder that is damaged, has no key, or was written by a later version. The server refuses
//! to start, prints one line that says what to do, and changes no data.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use jackfield_tests::{Setup, TestHost, failed_test, with_database};
use serde_json::json;

/// The database of the stopped server has twenty defects, and all its content is in one file.
fn stopped_host() -> TestHost {
    let (mut host, connection) = Setup::new().start_with_guest("instant", json!({}));
    for _ in 0..20 {
        host.create(&connection, &failed_test()).assert_status(200);
    }
    assert!(host.stop().success());
    // The checkpoint moves all content into jackfield.db, so damage to this file damages the
    // defects.
    with_database(&host.data_folder(), |database| {
        database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    });
    host
}

#[test]
fn a_clean_stop_leaves_the_whole_database_in_one_file() {
    let (mut host, connection) = Setup::new().start_with_guest("instant", json!({}));
    host.create(&connection, &failed_test()).assert_status(200);
    assert!(host.stop().success());
    let log = fs::metadata(host.data("jackfield.db-wal")).map_or(0, |file| file.len());
    assert_eq!(
        log, 0,
        "jackfield.db-wal still has content, which a copy of jackfield.db alone would lose"
    );
}

/// Compiled code, which is in a subfolder, is not read.
fn read_files(host: &TestHost) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(host.data_folder()).expect("the data folder");
    let paths = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    paths
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("a readable file"))
        })
        .collect()
}

/// Checks that the server does not start, prints one line with these words, and changes no data.
#[track_caller]
fn assert_refuses_to_start(host: &mut TestHost, words: &[&str]) {
    let before = read_files(host);
    let line = host.start_refusal();
    for word in words {
        assert!(line.contains(word), "{word:?} is missing in: {line}");
    }
    let after = read_files(host);
    // SQLite may create the files `-wal` and `-shm` beside a database file that it cannot read
    // completely.
    let new = after.keys().filter(|name| !before.contains_key(*name));
    let new: Vec<_> =
        new.filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm")).collect();
    assert!(new.is_empty(), "new files: {new:?}");
    // The file `lock` contains the id of the process that had the lock last, so each start changes
    // this file.
    for (name, bytes) in before.into_iter().filter(|(name, _)| name != "lock") {
        assert!(after.get(&name) == Some(&bytes), "{name} was changed");
    }
}

fn overwrite(path: &Path, from: usize, bytes: usize) {
    let mut content = fs::read(path).expect("a readable file");
    assert!(content.len() > from + bytes, "the file is too short for the damaged part");
    content[from..from + bytes].fill(0xa5);
    fs::write(path, content).expect("the file is written");
}

#[test]
fn a_database_whose_first_pages_are_overwritten_is_refused() {
    let mut host = stopped_host();
    overwrite(&host.data("jackfield.db"), 0, 8_192);
    assert_refuses_to_start(&mut host, &["jackfield.db", "damaged", "backup"]);
}

/// The damaged page is the root page of the table `defects`. SQLite opens such a file without an
/// error.
#[test]
fn a_database_with_a_damaged_page_in_the_middle_is_refused() {
    let mut host = stopped_host();
    let root = "SELECT rootpage FROM sqlite_master WHERE name = 'defects'";
    let page: i64 = with_database(&host.data_folder(), |database| {
        database.query_row(root, [], |row| row.get(0))
    });
    let from = usize::try_from(page - 1).expect("a page") * 4_096;
    overwrite(&host.data("jackfield.db"), from, 4_096);
    assert_refuses_to_start(&mut host, &["jackfield.db", "damaged", "backup"]);
}

#[test]
fn a_truncated_database_is_refused() {
    let mut host = stopped_host();
    let file = File::options().write(true).open(host.data("jackfield.db")).expect("the database");
    let half = file.metadata().expect("its size").len() / 2;
    file.set_len(half).expect("the file is truncated");
    assert_refuses_to_start(&mut host, &["jackfield.db", "damaged", "backup"]);
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let mut host = stopped_host();
    with_database(&host.data_folder(), |db| db.pragma_update(None, "user_version", 9999));
    assert_refuses_to_start(&mut host, &["jackfield.db", "9999", "backup"]);
}

#[test]
fn a_database_without_its_key_is_refused_and_no_new_key_is_created() {
    let mut host = stopped_host();
    fs::remove_file(host.data("secret-key")).expect("the key is removed");
    assert_refuses_to_start(&mut host, &["secret-key", "missing"]);
    assert!(
        !host.data("secret-key").exists(),
        "the server created a new key, which cannot open the secrets"
    );
}

#[test]
fn a_database_with_another_key_is_refused() {
    let mut host = stopped_host();
    fs::write(host.data("secret-key"), "17".repeat(32)).expect("the key is replaced");
    assert_refuses_to_start(&mut host, &["jackfield.db", "key"]);
}

#[test]
fn a_refused_database_is_used_again_once_its_key_is_back() {
    let mut host = stopped_host();
    let (key, moved) = (host.data("secret-key"), host.folder().join("moved-key"));
    fs::rename(&key, &moved).expect("the key is moved away");
    assert_refuses_to_start(&mut host, &["secret-key"]);
    fs::rename(&moved, &key).expect("the key is moved back");
    host.restart();
    let defects = host.admin().get("/defects").expect(200);
    assert_eq!(defects["defects"].as_array().map(Vec::len), Some(20), "{defects}");
}
