//! TLS to PostgreSQL: each `sslmode` does what the documentation says, for all sessions.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use jackfield_tests::{Postgres, failed_test};
use serde_json::json;

use super::{Home, assert_pause_is_noticed, config, documented, setup};
use crate::tls::Authority;

/// The encryption of the sessions of the application.
const SESSIONS: &str = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                        WHERE usename = 'app'";
/// The encryption of the sessions that wait for notifications. Those that are silent are asked.
const LISTENERS: &str = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
    WHERE usename = 'app' AND (query LIKE 'LISTEN %' OR query = 'SELECT 1')";

/// A server with a certificate for `localhost`, and its authority.
fn encrypting() -> (Postgres, Authority) {
    let (postgres, authority) = (documented(), Authority::new());
    authority.issue("server", "subjectAltName=DNS:localhost");
    encrypt_with(&postgres, &authority, "server");
    (postgres, authority)
}

/// Turns on TLS with the certificate of this name.
fn encrypt_with(postgres: &Postgres, authority: &Authority, name: &str) {
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

fn verified(authority: &Authority) -> String {
    format!("sslmode=verify-full&sslrootcert={}", authority.file("ca.pem"))
}

#[test]
fn with_verify_full_every_session_is_encrypted_and_another_authority_or_name_is_refused() {
    let (postgres, authority) = encrypting();
    postgres.set_hba("hostssl app app all scram-sha-256");
    let verified = config("localhost", postgres.port(), &verified(&authority));
    let (a, b) = (setup(&verified).guests(["instant"]).start(), setup(&verified).start());
    let connection = a.connect("qa", "instant", json!({}), json!({}));
    assert_pause_is_noticed(&b, &a, &connection);
    assert_eq!(postgres.query(SESSIONS), ["t"]);
    assert_eq!(postgres.query(LISTENERS), ["t"]);
    let found = Home::new(&verified).diagnosis("database").expect("a finding");
    assert_eq!(found.0, "ok", "{found:?}");

    let other = Authority::new();
    let of_other = self::verified(&other);
    for query in [of_other.as_str(), "sslmode=verify-full", "sslmode=verify-ca"] {
        let home = Home::new(&config("localhost", postgres.port(), query));
        home.assert_refused(&["certificate of an unknown authority", "`sslrootcert`"]);
    }
    let other_name = verified.replace("@localhost", "@127.0.0.1");
    Home::new(&other_name).assert_refused(&["certificate for another host", "localhost"]);
    let any_name = Home::new(&other_name.replace("verify-full", "verify-ca"));
    assert_eq!(any_name.diagnosis("database").expect("a finding").0, "ok");
    let missing = verified.replace("ca.pem", "missing.pem");
    Home::new(&missing).assert_refused(&["missing.pem", "`sslrootcert`", "No such file"]);
}

#[test]
fn without_a_check_of_the_certificate_require_and_prefer_encrypt_and_disable_does_not() {
    let (postgres, _) = encrypting();
    for (query, is_encrypted) in
        [("", "t"), ("sslmode=prefer", "t"), ("sslmode=require", "t"), ("sslmode=disable", "f")]
    {
        let mut host = setup(&config("127.0.0.1", postgres.port(), query)).start();
        assert_eq!(postgres.query(SESSIONS), [is_encrypted], "{query}");
        host.stop();
        let gone = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
        postgres.await_row("the end of the sessions", gone, "0");
    }
    postgres.set_hba("hostssl app app all scram-sha-256");
    let plain = Home::new(&config("localhost", postgres.port(), "sslmode=disable"));
    plain.assert_refused(&["no pg_hba.conf entry", "`sslmode=verify-full`"]);
}

#[test]
fn a_server_without_tls_is_used_unless_the_address_asks_for_it() {
    let (postgres, authority) = (documented(), Authority::new());
    let mut host = setup(&config("localhost", postgres.port(), "")).guests(["instant"]).start();
    let connection = host.connect("qa", "instant", json!({}), json!({}));
    host.create(&connection, &failed_test()).assert_status(200);
    assert_eq!(postgres.query(SESSIONS), ["f"]);
    // The mode that is not in the address does not come from the environment.
    host.set_env("PGSSLMODE", "require");
    host.restart();
    for query in ["sslmode=require", "sslmode=verify-ca", &verified(&authority)] {
        let home = Home::new(&config("localhost", postgres.port(), query));
        home.assert_refused(&["does not encrypt", "`ssl = on`"]);
    }
}

#[test]
fn a_certificate_of_an_authority_itself_is_refused_if_it_is_checked() {
    let (postgres, authority) = (documented(), Authority::new());
    encrypt_with(&postgres, &authority, "ca");
    let home = Home::new(&config("localhost", postgres.port(), &verified(&authority)));
    home.assert_refused(&["an authority's own", "with CA:FALSE"]);
    let unchecked = Home::new(&config("localhost", postgres.port(), "sslmode=require"));
    assert_eq!(unchecked.diagnosis("database").expect("a finding").0, "ok");
}

#[test]
fn a_client_certificate_is_sent_if_the_address_names_one() {
    let (postgres, authority) = encrypting();
    let authorities = postgres.data_folder().join("authorities.pem");
    fs::copy(authority.file("ca.pem"), &authorities).expect("a copy");
    fs::set_permissions(&authorities, fs::Permissions::from_mode(0o644)).expect("its mode");
    postgres.set("ssl_ca_file", "authorities.pem");
    postgres.set_hba("hostssl app app all cert");
    authority.issue("app", "extendedKeyUsage=clientAuth");
    let without = config("localhost", postgres.port(), &verified(&authority));
    Home::new(&without).assert_refused(&["client certificate", "`sslcert`"]);
    let (certificate, key) = (authority.file("app.pem"), authority.file("app.key"));
    let query = format!("{}&sslcert={certificate}&sslkey={key}", verified(&authority));
    let _ = setup(&config("localhost", postgres.port(), &query)).start();
    let keyless = Home::new(&config("localhost", postgres.port(), &query.replace("app.key", "x")));
    keyless.assert_refused(&["cannot read", "`sslkey` in `store`"]);
}

#[test]
fn an_address_that_does_not_do_what_it_says_is_refused() {
    for (address, words) in [
        ("h/d?sslmod=verify-full", "`sslmod` has no effect"),
        ("h/d?target_session_attrs=read-write", "`target_session_attrs` has no effect"),
        ("h/d?sslmode=allow", "`sslmode` must be one of"),
        ("a:5432,b:5432/d", "must name one host"),
    ] {
        let home = Home::new(&format!("store = \"postgres://app@{address}\""));
        let refusal = home.refusal();
        assert!(refusal.contains(words), "{refusal}");
    }
    let far = Home::new("store = \"postgres://app@database.invalid/app\"");
    let (status, found) = far.diagnosis("database encryption").expect("a finding");
    assert!(status == "warn" && found.contains("sslmode=verify-full"), "{found}");
}
