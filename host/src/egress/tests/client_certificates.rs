//! Tests client certificates: to which origins they are presented, and the errors if a certificate
//! is missing, is refused by the server or cannot be used.

use rustls::version::{TLS12, TLS13};

use super::certificates::{Issuer, host_parameters, pem, pem_file};
use super::tls::tracker;
use super::*;
use crate::domain::{CLIENT_CERT, CLIENT_KEY, TryStep, TryStepResult};

fn add_client_certificate(builder: &mut RequestsBuilder, certificate: &Issuer) {
    for (name, text) in [(CLIENT_CERT, pem(&certificate.der)), (CLIENT_KEY, certificate.key_pem())]
    {
        builder.secrets.insert(name.to_owned(), Secret::new(text));
    }
}

#[tokio::test]
async fn a_required_client_certificate_is_presented_and_an_error_names_the_failed_step() {
    let (root, clients, other_clients) = (Issuer::root("a"), Issuer::root("b"), Issuer::root("c"));
    let server = root.issue(host_parameters("localhost"));
    let file = pem_file(&[&root.der]);
    for version in [&TLS12, &TLS13] {
        for protocols in [&[][..], &[&b"h2"[..]]] {
            let tracker =
                tracker(server.acceptor_with_client_certificates(&clients, version, protocols))
                    .await;
            let origin = format!("https://localhost:{}", tracker.address.port());
            let mut builder = RequestsBuilder::granting(&[&origin]);
            builder.extra_ca = Some(file.path().to_owned());
            let probe = async |builder: &RequestsBuilder| {
                builder.egress().probe(&builder.active(), &origin.parse().unwrap()).await
            };
            for (presented, expected) in [
                (None, "requires a client certificate, and this connection has none"),
                (Some(&other_clients), "refused this connection's client certificate"),
            ] {
                if let Some(issuer) = presented {
                    add_client_certificate(&mut builder, &issuer.issue(host_parameters("client")));
                }
                let results = probe(&builder).await;
                let failed = results.last().unwrap();
                assert_eq!((results.len(), failed.step), (3, TryStep::Tls), "{results:?}");
                let error = failed.error.as_ref().unwrap();
                assert!(error.contains(expected) && error.contains("--client-cert"), "{error}");
                // The write was not journaled and not sent, so it is not in doubt.
                let journal = TestJournal::allowing();
                let run_requests = builder.requests_with(journal.permission());
                let error = run_requests.send(post(run_requests.url("/"), "{}")).await.unwrap_err();
                assert!(matches!(error, HttpError::Unreachable(_)), "{error}");
                assert!(journal.marks().is_empty() && tracker.requests().is_empty());
            }
            add_client_certificate(&mut builder, &clients.issue(host_parameters("client")));
            let results: Vec<TryStepResult> = probe(&builder).await;
            assert!(results.iter().all(|step| step.error.is_none()), "{results:?}");
            assert_eq!(results[2].note.as_deref(), Some("with the client certificate"));
            let run_requests = builder.read_only_requests();
            for _ in 0..2 {
                assert_eq!(
                    run_requests.send(get(run_requests.url("/a"))).await.unwrap().status,
                    200
                );
            }
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_not_given_to_the_guest_or_to_origins_that_the_connector_chose() {
    let (root, clients) = (Issuer::root("a"), Issuer::root("b"));
    let server = root.issue(host_parameters("localhost"));
    let file = pem_file(&[&root.der]);
    let tracker = tracker(server.acceptor_with_client_certificates(&clients, &TLS13, &[])).await;
    let origin = format!("https://localhost:{}", tracker.address.port());
    let mut builder = RequestsBuilder::granting(&[&origin]);
    builder.extra_ca = Some(file.path().to_owned());
    add_client_certificate(&mut builder, &clients.issue(host_parameters("client")));
    assert_eq!(builder.active().placeholder(CLIENT_KEY), None);
    let active = builder.active();
    assert!(active.has_secrets(&builder.secrets) && !active.has_secrets(&BTreeMap::new()));
    builder.grants.fixed_origins = builder.grants.origins.clone();
    let has_identity =
        builder.active().caller_for(&origin.parse().unwrap()).identity.unwrap().is_some();
    assert!(!has_identity);
}

#[tokio::test]
async fn a_client_certificate_that_cannot_be_used_is_an_error_and_is_never_ignored() {
    let root = Issuer::root("a");
    let (client, other) =
        (root.issue(host_parameters("client")), root.issue(host_parameters("other")));
    let (certificate, key) = (pem(&client.der), client.key_pem());
    let encrypted = key.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE");
    let tracker = tracker(root.issue(host_parameters("localhost")).acceptor(&[], &[])).await;
    for (certificate, key, expected) in [
        (Some("no PEM"), Some(key.as_str()), "`client_cert` contains no certificate"),
        (Some(&certificate), Some("no PEM"), "`client_key` contains no private key"),
        (Some(&certificate), Some(&encrypted), "`client_key` is encrypted"),
        (Some(&certificate), None, "needs both"),
        (None, Some(&key), "needs both"),
        (Some(&certificate), Some(&other.key_pem()), "is not the key of the first"),
    ] {
        let origin = format!("https://localhost:{}", tracker.address.port());
        let mut builder = RequestsBuilder::granting(&[&origin]);
        for (name, text) in [(CLIENT_CERT, certificate), (CLIENT_KEY, key)] {
            let text = text.map(|text| Secret::new(text.to_owned()));
            builder.secrets.extend(text.map(|text| (name.to_owned(), text)));
        }
        let problem = builder.active().identity_problem().unwrap().to_string();
        assert!(problem.contains(expected), "{problem}");
        let steps = builder.egress().probe(&builder.active(), &origin.parse().unwrap()).await;
        let failed = steps.last().unwrap();
        assert_eq!((failed.step, failed.error.as_deref()), (TryStep::Tls, Some(problem.as_str())));
    }
}
