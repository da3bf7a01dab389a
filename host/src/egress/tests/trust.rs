//! Tests which certificates of servers are trusted, and which error the host reports for a server
//! that is not trusted.

use rcgen::{
    ExtendedKeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, date_time_ymd,
};
use tokio_rustls::TlsAcceptor;

use super::certificates::{Issuer, authority_parameters, common_name, host_parameters, pem_file};
use super::tls::tracker;
use super::*;

/// Starts a server with this acceptor on `localhost`, and sends a request to it. `extra_ca_file`
/// contains the certificates in `listed`.
async fn request_to(acceptor: TlsAcceptor, listed: &[&Issuer]) -> Result<(), String> {
    let tracker = tracker(acceptor).await;
    request_at(tracker.address, listed).await
}

/// Sends a request to `localhost` at the port of this address. Returns the TLS error, if there is
/// one.
async fn request_at(address: SocketAddr, listed: &[&Issuer]) -> Result<(), String> {
    let mut builder =
        RequestsBuilder::granting(&[&format!("https://localhost:{}", address.port())]);
    let file = pem_file(&listed.iter().map(|issuer| &issuer.der).collect::<Vec<_>>());
    builder.extra_ca = (!listed.is_empty()).then(|| file.path().to_owned());
    match builder.read_only_requests().send(get(builder.url("/"))).await {
        Ok(_) => Ok(()),
        Err(HttpError::Unreachable(why)) => {
            Err(why.strip_prefix("tls failed: ").unwrap_or_else(|| panic!("{why}")).to_owned())
        }
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_certificate_in_extra_ca_file_is_trusted_for_its_own_name() {
    let plain = host_parameters("localhost");
    let mut also_authority = host_parameters("localhost");
    also_authority.is_ca = authority_parameters("").is_ca;
    let mut without_names = host_parameters("localhost");
    without_names.subject_alt_names.clear();
    let mut for_clients = host_parameters("localhost");
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for parameters in [plain, also_authority, without_names, for_clients] {
        let server = Issuer::self_signed(parameters);
        request_to(server.acceptor(&[], &[]), &[&server]).await.unwrap();
    }
    // `extra_ca_file` contains this server certificate, but not its issuer.
    let server = Issuer::root("a").issue(host_parameters("localhost"));
    request_to(server.acceptor(&[], &[]), &[&server]).await.unwrap();
}

#[tokio::test]
async fn a_certificate_in_extra_ca_file_is_trusted_only_for_its_own_name_and_until_it_expires() {
    let other = Issuer::self_signed(host_parameters("other.example"));
    let error = request_to(other.acceptor(&[], &[]), &[&other]).await.unwrap_err();
    assert!(error.contains("is for other.example, not for localhost"), "{error}");

    let mut other_common_name = host_parameters("other.example");
    other_common_name.subject_alt_names.clear();
    let other = Issuer::self_signed(other_common_name);
    let error = request_to(other.acceptor(&[], &[]), &[&other]).await.unwrap_err();
    assert!(error.contains("names no host") && error.contains("for localhost"), "{error}");

    let mut with_other_names = host_parameters("other.example");
    with_other_names.distinguished_name = common_name("localhost");
    let other = Issuer::self_signed(with_other_names);
    assert!(request_to(other.acceptor(&[], &[]), &[&other]).await.is_err());

    let mut old = host_parameters("localhost");
    old.not_after = date_time_ymd(2020, 1, 2);
    let old = Issuer::self_signed(old);
    let error = request_to(old.acceptor(&[], &[]), &[&old]).await.unwrap_err();
    assert!(error.contains("(CN=localhost) expired at 2020-01-02T00:00:00Z; renew"), "{error}");

    // If `extra_ca_file` contains a server certificate, the certificates that its key has signed
    // are not trusted.
    let listed = Issuer::self_signed(host_parameters("tracker.example"));
    let signed_by_it = listed.issue(host_parameters("localhost"));
    assert!(request_to(signed_by_it.acceptor(&[], &[]), &[&listed]).await.is_err());
}

#[tokio::test]
async fn certificate_chains_with_p384_and_p521_keys_are_trusted() {
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P521_SHA512] {
        let root = Issuer::root_with("root", algorithm);
        let intermediate = root.issue(authority_parameters("intermediate"));
        let server = intermediate.issue(host_parameters("localhost"));
        request_to(server.acceptor(&[&intermediate], &[]), &[&root]).await.unwrap();
        // `extra_ca_file` may contain an intermediate authority instead of a root.
        request_to(server.acceptor(&[], &[]), &[&intermediate]).await.unwrap();
    }
}

#[tokio::test]
async fn the_error_explains_why_a_certificate_is_refused() {
    let root = Issuer::root("Root of a company");
    let intermediate = root.issue(authority_parameters("Middle"));
    let server = intermediate.issue(host_parameters("localhost"));
    let self_signed = Issuer::self_signed(host_parameters("localhost"));
    let other = root.issue(host_parameters("other.example"));
    let mut parameters = host_parameters("localhost");
    parameters.not_after = date_time_ymd(2020, 1, 2);
    let expired = root.issue(parameters);
    let mut parameters = host_parameters("localhost");
    parameters.not_before = date_time_ymd(4000, 1, 2);
    let not_yet_valid = root.issue(parameters);
    let mut parameters = host_parameters("localhost");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let for_clients = root.issue(parameters);
    let authority_itself = root.issue(authority_parameters("Middle"));
    let same_name = Issuer::root("Root of a company");
    let same_name_other_key = Issuer::root_with("Root of a company", &PKCS_ECDSA_P384_SHA384);
    for (acceptor, listed, expected) in [
        (
            server.acceptor(&[], &[]),
            &root,
            &["sent only its own certificate (CN=localhost)", "issuer CN=Middle", "full chain"][..],
        ),
        (
            server.acceptor(&[&intermediate], &[]),
            &self_signed,
            &["CN=Root of a company, is not trusted here", "`extra_ca_file`"],
        ),
        (
            self_signed.acceptor(&[], &[]),
            &root,
            &["(CN=localhost) is signed by itself", "add it as PEM"],
        ),
        (other.acceptor(&[], &[]), &root, &["is for other.example, not for localhost"]),
        (
            expired.acceptor(&[], &[]),
            &root,
            &["expired at 2020-01-02", "renew it", "clock shows 2"],
        ),
        (not_yet_valid.acceptor(&[], &[]), &root, &["valid only from 4000-01-02", "clock shows 2"]),
        (for_clients.acceptor(&[], &[]), &root, &["is not for servers", "serverAuth"]),
        (authority_itself.acceptor(&[], &[]), &root, &["is that of an authority, not of a server"]),
        (
            other.acceptor(&[], &[]),
            &same_name,
            &["not signed by the key that its issuer", "an older authority with the same name"],
        ),
        (
            other.acceptor(&[], &[]),
            &same_name_other_key,
            &["not signed by the key that its issuer", "an older authority with the same name"],
        ),
    ] {
        let error = request_to(acceptor, &[listed]).await.unwrap_err();
        assert!(expected.iter().all(|part| error.contains(part)), "{expected:?}: {error}");
    }
}

#[tokio::test]
async fn the_error_explains_why_a_tls_handshake_failed() {
    let plain_http = FakeTracker::scripted(|_, mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        read_to_end(stream).await;
    })
    .await;
    let closing = FakeTracker::scripted(|_, mut stream, _| async move {
        let _ = stream.read_u8().await;
    })
    .await;
    // The server sends the fatal alert protocol_version.
    let outdated = FakeTracker::scripted(|_, mut stream, _| async move {
        let _ = stream.write_all(&[21, 3, 1, 0, 2, 2, 70]).await;
        read_to_end(stream).await;
    })
    .await;
    // The server sends the fatal alert unrecognized_name.
    let unrecognised_name = FakeTracker::scripted(|_, mut stream, _| async move {
        let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 112]).await;
        read_to_end(stream).await;
    })
    .await;
    for (server, expected) in [
        (plain_http, "does not speak TLS at this port; use http://"),
        (closing, "closed the connection during the TLS handshake"),
        (outdated, "supports neither TLS 1.2 nor TLS 1.3"),
        (unrecognised_name, "has no certificate for this name"),
    ] {
        let error = request_at(server.address, &[]).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
