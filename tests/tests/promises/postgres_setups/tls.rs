//! Servers connect to PostgreSQL with TLS. `sslmode` applies to all sessions of a server.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use jackfield_tests::{Postgres, failed_test};
use serde_json::json;

use super::{CommandFolder, assert_pause_is_noticed, config, setup, start_postgres};
use crate::tls::Authority;

/// Returns whether the sessions of the server are encrypted.
const SESSIONS_ENCRYPTED_SQL: &str =
    "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                        WHERE usename = 'app'";
/// Returns whether the sessions that wait for notifications are encrypted. The last statement of
/// such a session is `LISTEN`, or the `SELECT 1` that tests a silent session.
const LISTENERS_ENCRYPTED_SQL: &str =
    "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
    WHERE usename = 'app' AND (query LIKE 'LISTEN %' OR query = 'SELECT 1')";

/// PostgreSQL has a certificate for `localhost` from the returned authority.
fn start_with_tls() -> (Postgres, Authority) {
    let (postgres, authority) = (start_postgres(), Authority::new());
    authority.issue("server", "subjectAltName=DNS:localhost");
    enable_tls(&postgres, &authority, "server");
    (postgres, authority)
}

/// Uses the certificate `NAME.pem` and the key `NAME.key` in the authority's folder.
fn enable_tls(postgres: &Postgres, authority: &Authority, name: &str) {
    let folder = postgres.data_folder();
    let owner = fs::metadata(&folder).expect("the folder").uid();
    for (kind, to) in [("pem", "server.crt"), ("key", "server.key")] {
        let to = folder.join(to);
        fs::copy(authority.file(&format!("{name}.{kind}")), &to).expect("a copy");
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("its mode");
        chown(&to, Some(owner), None).expect("its owner");
    }
    postgres.set("ssl", "on");
}

fn verify_full_query(authority: &Authority) -> String {
    format!("sslmode=verify-full&sslrootcert={}", authority.file("ca.pem"))
}

#[test]
fn with_verify_full_every_session_is_encrypted_and_another_authority_or_name_is_refused() {
    let (postgres, authority) = start_with_tls();
    postgres.set_hba("hostssl app app all scram-sha-256");
    let verified = config("localhost", postgres.port(), &verify_full_query(&authority));
    let (a, b) = (setup(&verified).guests(["instant"]).start(), setup(&verified).start());
    let connection = a.add_connection("qa", "instant", json!({}), json!({}));
    assert_pause_is_noticed(&b, &a, &connection);
    assert_eq!(postgres.query(SESSIONS_ENCRYPTED_SQL), ["t"]);
    assert_eq!(postgres.query(LISTENERS_ENCRYPTED_SQL), ["t"]);
    let found = CommandFolder::new(&verified).diagnose("database").expect("a finding");
    assert_eq!(found.0, "ok", "{found:?}");

    let other = Authority::new();
    let other_authority = verify_full_query(&other);
    for query in [other_authority.as_str(), "sslmode=verify-full", "sslmode=verify-ca"] {
        let home = CommandFolder::new(&config("localhost", postgres.port(), query));
        home.assert_refused(&["certificate of an unknown authority", "`sslrootcert`"]);
    }
    let other_name = verified.replace("@localhost", "@127.0.0.1");
    CommandFolder::new(&other_name).assert_refused(&["certificate for another host", "localhost"]);
    let any_name = CommandFolder::new(&other_name.replace("verify-full", "verify-ca"));
    assert_eq!(any_name.diagnose("database").expect("a finding").0, "ok");
    let missing = verified.replace("ca.pem", "missing.pem");
    CommandFolder::new(&missing).assert_refused(&["missing.pem", "`sslrootcert`", "No such file"]);
}

#[test]
fn require_and_prefer_encrypt_without_a_check_of_the_certificate_and_disable_does_not_encrypt() {
    let (postgres, _) = start_with_tls();
    for (query, is_encrypted) in
        [("", "t"), ("sslmode=prefer", "t"), ("sslmode=require", "t"), ("sslmode=disable", "f")]
    {
        let mut host = setup(&config("127.0.0.1", postgres.port(), query)).start();
        assert_eq!(postgres.query(SESSIONS_ENCRYPTED_SQL), [is_encrypted], "{query}");
        host.stop();
        let session_count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
        postgres.await_row("the end of the sessions", session_count, "0");
    }
    postgres.set_hba("hostssl app app all scram-sha-256");
    let plain = CommandFolder::new(&config("localhost", postgres.port(), "sslmode=disable"));
    plain.assert_refused(&["no pg_hba.conf entry", "`sslmode=verify-full`"]);
}

#[test]
fn a_database_without_tls_is_used_unless_the_address_requires_tls() {
    let (postgres, authority) = (start_postgres(), Authority::new());
    let mut host = setup(&config("localhost", postgres.port(), "")).guests(["instant"]).start();
    let connection = host.add_connection("qa", "instant", json!({}), json!({}));
    host.create(&connection, &failed_test()).assert_status(200);
    assert_eq!(postgres.query(SESSIONS_ENCRYPTED_SQL), ["f"]);
    // If the address contains no mode, the environment variable must have no effect.
    host.set_env("PGSSLMODE", "require");
    host.restart();
    for query in ["sslmode=require", "sslmode=verify-ca", &verify_full_query(&authority)] {
        let home = CommandFolder::new(&config("localhost", postgres.port(), query));
        home.assert_refused(&["does not encrypt", "`ssl = on`"]);
    }
}

#[test]
fn the_own_certificate_of_an_authority_is_refused_if_certificates_are_checked() {
    let (postgres, authority) = (start_postgres(), Authority::new());
    enable_tls(&postgres, &authority, "ca");
    let home =
        CommandFolder::new(&config("localhost", postgres.port(), &verify_full_query(&authority)));
    home.assert_refused(&["an authority's own", "with CA:FALSE"]);
    let unchecked = CommandFolder::new(&config("localhost", postgres.port(), "sslmode=require"));
    assert_eq!(unchecked.diagnose("database").expect("a finding").0, "ok");
}

#[test]
fn a_client_certificate_is_sent_if_the_address_names_one() {
    let (postgres, authority) = start_with_tls();
    let authorities = postgres.data_folder().join("authorities.pem");
    fs::copy(authority.file("ca.pem"), &authorities).expect("a copy");
    fs::set_permissions(&authorities, fs::Permissions::from_mode(0o644)).expect("its mode");
    postgres.set("ssl_ca_file", "authorities.pem");
    postgres.set_hba("hostssl app app all cert");
    authority.issue("app", "extendedKeyUsage=clientAuth");
    let without = config("localhost", postgres.port(), &verify_full_query(&authority));
    CommandFolder::new(&without).assert_refused(&["client certificate", "`sslcert`"]);
    let (certificate, key) = (authority.file("app.pem"), authority.file("app.key"));
    let query = format!("{}&sslcert={certificate}&sslkey={key}", verify_full_query(&authority));
    let _ = setup(&config("localhost", postgres.port(), &query)).start();
    let without_key =
        CommandFolder::new(&config("localhost", postgres.port(), &query.replace("app.key", "x")));
    without_key.assert_refused(&["cannot read", "`sslkey` in `store`"]);
}

#[test]
fn an_address_that_would_not_work_as_written_is_refused() {
    for (address, words) in [
        ("h/d?sslmod=verify-full", "`sslmod` has no effect"),
        ("h/d?target_session_attrs=read-write", "`target_session_attrs` has no effect"),
        ("h/d?sslmode=allow", "`sslmode` must be one of"),
        ("a:5432,b:5432/d", "must name one host"),
    ] {
        let home = CommandFolder::new(&format!("store = \"postgres://app@{address}\""));
        let refusal = home.start_refusal();
        assert!(refusal.contains(words), "{refusal}");
    }
    let remote = CommandFolder::new("store = \"postgres://app@database.invalid/app\"");
    let (status, found) = remote.diagnose("database encryption").expect("a finding");
    assert!(status == "warn" && found.contains("sslmode=verify-full"), "{found}");
}
