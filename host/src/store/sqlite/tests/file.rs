//! Tests that open the database file, seal its secrets with another key, and move its rows.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::tempdir;

use super::*;
use crate::secret::{Sealed, Sealer, Secret, TokenHash};
use crate::store::ConnectionStore as _;
use crate::store::sql::starts::StartCounter;
use crate::store::{StoredToken, TokenExpiry};

/// Opens a file that must be refused. Returns the text of the error.
async fn open_refused_file(folder: &TempDir, sealer: &Sealer) -> String {
    match SqliteStore::open(&folder.path().join("jackfield.db"), sealer) {
        Err(error @ (StoreError::Unusable(_) | StoreError::Database(_))) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the file was opened"),
    }
}

#[tokio::test]
async fn a_stored_connection_is_unchanged_after_a_restart() {
    let folder = tempdir().unwrap();
    let store = open(&folder).await;
    let mut new = stored_connection("shop");
    store.create_connection(&new).await.unwrap();
    let fresh = StoredToken { hash: TokenHash([7; 32]), expiry: None };
    let expiry = TokenExpiry { at: at(50), grace_ms: 50 };
    store.rotate_token(new.record.connection.id, &fresh, "wxyz", expiry).await.unwrap();
    new.record.connection.name = "store".to_owned();
    new.record.connection.paused = true;
    new.secrets = [("other".to_owned(), Sealed(vec![4]))].into();
    store.update_connection(&new, false).await.unwrap();
    store.close().await;

    let stored = open(&folder).await.connections().await.unwrap().remove(0);
    new.record.token_tail = "wxyz".to_owned();
    new.record.revision = 2;
    new.record.connection.secrets_set = vec!["other".to_owned()];
    assert_eq!(stored.record, new.record);
    assert_eq!(stored.secrets, new.secrets);
    let ends: Vec<_> = stored.tokens.iter().map(|token| token.expiry).collect();
    assert_eq!(ends, [Some(expiry), None]);
    let mode = folder.path().join("jackfield.db").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_with_another_key_is_refused() {
    let folder = tempdir().unwrap();
    open(&folder).await.close().await;
    let other = tempdir().unwrap();
    assert!(open_refused_file(&folder, &sealer(other.path())).await.contains("another key"));
    open(&folder).await.close().await;
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let folder = tempdir().unwrap();
    let store = open(&folder).await;
    store.close().await;
    let database = rusqlite::Connection::open(folder.path().join("jackfield.db")).unwrap();
    database.pragma_update(None, "user_version", 9999).unwrap();
    drop(database);
    assert!(open_refused_file(&folder, &sealer(folder.path())).await.contains("newer Jackfield"));
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_refused() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("jackfield.db"), "not a database ".repeat(500)).unwrap();
    assert!(open_refused_file(&folder, &sealer(folder.path())).await.contains("damaged"));
}

#[tokio::test]
async fn the_error_names_a_missing_folder() {
    let folder = tempdir().unwrap();
    let sealer = sealer(folder.path());
    let path = folder.path().join("missing").join("jackfield.db");
    let refused = SqliteStore::open(&path, &sealer).err().unwrap().to_string();
    assert!(refused.contains("cannot be written") && refused.contains("missing"), "{refused}");
}

#[tokio::test]
async fn a_key_rotation_seals_every_secret_with_the_new_key_or_none() {
    let (folder, other) = (tempdir().unwrap(), tempdir().unwrap());
    let (old, new) = (sealer(folder.path()), sealer(other.path()));
    let path = folder.path().join("jackfield.db");
    let mut shop = stored_connection("shop");
    let place = Sealer::place(&shop.record.connection.id.to_string(), "api-key");
    let secret = Secret::new("hunter2".to_owned());
    shop.secrets = [("api-key".to_owned(), old.seal(&place, &secret).unwrap())].into();
    let store = open(&folder).await;
    store.create_connection(&shop).await.unwrap();
    store.close().await;

    assert_eq!(SqliteStore::reseal(&path, &old, &new, audit_entry(1)).unwrap(), 1);
    assert!(SqliteStore::is_sealed_with(&path, &new).unwrap());
    assert!(!SqliteStore::is_sealed_with(&path, &old).unwrap());
    let store = SqliteStore::open(&path, &new).unwrap();
    let stored = store.connections().await.unwrap().remove(0).secrets.remove("api-key").unwrap();
    assert_eq!(new.open_sealed(&place, &stored).unwrap().reveal(), "hunter2");

    // During a read, the write-ahead log cannot be emptied, so it keeps the earlier secrets.
    store.close().await;
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM meta").unwrap();
    let why = SqliteStore::reseal(&path, &new, &old, audit_entry(3)).unwrap_err().to_string();
    assert!(why.contains("still on the disk") && why.contains("stop it once"), "{why}");
    reader.execute_batch("COMMIT").unwrap();
    assert!(SqliteStore::is_sealed_with(&path, &old).unwrap());
    assert_eq!(SqliteStore::reseal(&path, &old, &new, audit_entry(4)).unwrap(), 1);
    let store = SqliteStore::open(&path, &new).unwrap();

    // A secret that cannot be opened stops the rotation.
    let mut bad = stored_connection("bad");
    bad.secrets = [("api-key".to_owned(), Sealed(vec![0; 64]))].into();
    store.create_connection(&bad).await.unwrap();
    store.close().await;
    let why = SqliteStore::reseal(&path, &new, &old, audit_entry(2)).unwrap_err().to_string();
    assert!(why.contains("nothing was changed"), "{why}");
    assert!(SqliteStore::is_sealed_with(&path, &new).unwrap());
}

#[tokio::test]
async fn a_printed_chain_of_errors_contains_each_cause_once() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("jackfield.db"), "not a database ".repeat(500)).unwrap();
    let path = folder.path().join("jackfield.db");
    let error = SqliteStore::open(&path, &sealer(folder.path())).err().unwrap();
    let chain = format!("{:#}", anyhow::Error::from(error));
    assert_eq!(chain.matches("file is not a database").count(), 1, "{chain}");
}

#[tokio::test]
async fn the_rows_of_a_restored_file_can_be_moved_only_after_a_server_has_started_with_it() {
    let folder = tempdir().unwrap();
    let store = open(&folder).await;
    store.recover(at(0), RUN_MS).await.unwrap();
    store.close().await;
    let move_rows = || {
        SqliteStore::move_rows(&database_path(&folder), &sealer(folder.path()), "elsewhere", |_| {
            Ok(())
        })
    };
    // After a restoration, the file `jackfield.starts` contains a larger number of starts than the
    // database.
    StartCounter::with_file_beside(&database_path(&folder)).write(9).unwrap();
    let refused = move_rows().unwrap_err().to_string();
    assert!(refused.contains("start the server with it once"), "{refused}");
    let store = open(&folder).await;
    store.recover(at(1), RUN_MS).await.unwrap();
    store.close().await;
    move_rows().unwrap();
}
