//! Tests TLS connections: their certificates, HTTP/1.1 and HTTP/2 over TLS, the probe, and a tunnel
//! through a proxy.

use super::certificates::{Issuer, host_parameters, pem_file};
use super::*;
use crate::domain::{TryStep, WriteAnswer};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::TlsAcceptor;

/// A certificate authority, and the TLS acceptor of a server whose certificate the authority
/// issued.
pub(super) struct Authority {
    pub(super) pem_file: tempfile::NamedTempFile,
    /// The acceptor of a server with a certificate for `localhost`.
    pub(super) acceptor: TlsAcceptor,
}

/// Makes a certificate authority, which issues a server certificate for `localhost`. `protocols`
/// are for ALPN.
pub(super) fn authority(protocols: &[&[u8]]) -> Authority {
    let authority = Issuer::root("test");
    let server = authority.issue(host_parameters("localhost"));
    let pem_file = pem_file(&[&authority.der]);
    Authority { pem_file, acceptor: server.acceptor(&[], protocols) }
}

/// Starts a tracker whose answers contain the HTTP version of the request as their body. A request
/// for `/broken` gets no answer.
pub(super) async fn tracker(acceptor: TlsAcceptor) -> FakeTracker {
    FakeTracker::scripted(move |_, stream, requests| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let line = format!("{} {}", request.method(), request.uri().path());
                requests.0.lock().unwrap().push(line);
                let version = format!("{:?}", request.version());
                let is_broken = request.uri().path() == "/broken";
                async move {
                    if is_broken {
                        return Err(io::Error::other("gone"));
                    }
                    Ok(Response::new(Full::<Bytes>::from(version)))
                }
            });
            if is_http2 {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            } else {
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn http1_and_http2_connections_are_reused() {
    for (protocols, version) in [
        (&[&b"h2"[..], b"http/1.1"][..], "HTTP/2.0"),
        (&[b"http/1.1"], "HTTP/1.1"),
        (&[], "HTTP/1.1"),
    ] {
        let authority = authority(protocols);
        let tracker = tracker(authority.acceptor).await;
        let origin = format!("https://localhost:{}", tracker.address.port());
        let mut builder = RequestsBuilder::granting(&[&origin]);
        builder.extra_ca = Some(authority.pem_file.path().to_owned());
        let journal = TestJournal::allowing();
        let run_requests = builder.requests_with(journal.permission());
        for _ in 0..2 {
            assert_eq!(run_requests.send(get(run_requests.url("/a"))).await.unwrap().body, version);
            assert_eq!(
                run_requests.send(post(run_requests.url("/b"), "{}")).await.unwrap().body,
                version
            );
        }
        assert_eq!(tracker.connections(), 1);
        assert_eq!(tracker.requests(), ["GET /a", "POST /b", "GET /a", "POST /b"]);
        assert_eq!(journal.marks(), ["marked", "marked"]);
    }
}

#[tokio::test]
async fn a_reset_http2_stream_leaves_a_write_in_doubt_and_a_read_is_sent_once_more() {
    let authority = authority(&[b"h2"]);
    let tracker = tracker(authority.acceptor).await;
    let origin = format!("https://localhost:{}", tracker.address.port());
    let mut builder = RequestsBuilder::granting(&[&origin]);
    builder.extra_ca = Some(authority.pem_file.path().to_owned());
    let run_requests = builder.requests_with(TestJournal::allowing().permission());
    run_requests.send(get(run_requests.url("/a"))).await.unwrap();
    assert!(run_requests.send(post(run_requests.url("/broken"), "{}")).await.is_err());
    assert!(run_requests.send(get(run_requests.url("/broken"))).await.is_err());
    let (_, writes) = run_requests.finish().await;
    assert!(matches!(writes[0].answer, WriteAnswer::Broken(_)), "{writes:?}");
    assert_eq!(tracker.requests(), ["GET /a", "POST /broken", "GET /broken", "GET /broken"]);
}

#[tokio::test]
async fn an_untrusted_certificate_is_refused_before_the_write_is_journaled() {
    let authority = authority(&[]);
    let tracker = tracker(authority.acceptor).await;
    let origin = format!("https://localhost:{}", tracker.address.port());
    let journal = TestJournal::allowing();
    let run_requests = RequestsBuilder::granting(&[&origin]).requests_with(journal.permission());
    let error = run_requests.send(post(run_requests.url("/"), "{}")).await.unwrap_err();
    assert!(
        matches!(&error, HttpError::Unreachable(why) if why.starts_with("tls failed")),
        "{error}"
    );
    assert!(journal.marks().is_empty() && tracker.requests().is_empty());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = authority(&[]);
    let tracker = tracker(authority.acceptor).await;
    let mut builder = RequestsBuilder::granting(&[&format!("https://{}", tracker.address)]);
    builder.extra_ca = Some(authority.pem_file.path().to_owned());
    assert!(matches!(
        builder.read_only_requests().send(get(builder.url("/"))).await,
        Err(HttpError::Unreachable(_))
    ));
}

#[tokio::test]
async fn the_probe_reports_the_result_of_each_step() {
    let authority = authority(&[]);
    let tracker = tracker(authority.acceptor).await;
    let origin = format!("https://localhost:{}", tracker.address.port());
    let mut builder = RequestsBuilder::granting(&[]);
    let steps = async |builder: &RequestsBuilder, origin: &str| {
        let steps = builder.egress().probe(&builder.active(), &origin.parse().unwrap()).await;
        steps.iter().map(|step| (step.step, step.error.is_none())).collect::<Vec<_>>()
    };
    let untrusted = steps(&builder, &origin).await;
    assert_eq!(untrusted, [(TryStep::Dns, true), (TryStep::Connect, true), (TryStep::Tls, false)]);
    builder.extra_ca = Some(authority.pem_file.path().to_owned());
    let trusted = steps(&builder, &origin).await;
    assert_eq!(trusted, [(TryStep::Dns, true), (TryStep::Connect, true), (TryStep::Tls, true)]);
    let closed = steps(&builder, "http://127.0.0.1:1").await;
    assert_eq!(closed, [(TryStep::Dns, true), (TryStep::Connect, false)]);
    let unknown = steps(&builder, "http://nowhere.example").await;
    assert_eq!(unknown, [(TryStep::Dns, false)]);
}

#[tokio::test]
async fn an_https_request_uses_a_tunnel_through_the_proxy() {
    let authority = authority(&[b"h2"]);
    let tracker = tracker(authority.acceptor).await;
    let address = tracker.address;
    let proxy = FakeTracker::scripted(move |_, mut stream, requests| async move {
        requests.read(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
        let mut to_tracker = TcpStream::connect(address).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut to_tracker).await;
    })
    .await;
    // The host never uses a proxy for `localhost`, so the tracker has another name here. The
    // certificate is valid only for `localhost`, so the TLS handshake fails. This test checks only
    // the tunnel.
    let mut builder = RequestsBuilder::granting(&["https://tracker.example"]);
    builder.proxy = proxy.origin();
    builder.extra_ca = Some(authority.pem_file.path().to_owned());
    let error = builder.read_only_requests().send(get(builder.url("/"))).await.unwrap_err();
    assert!(
        matches!(&error, HttpError::Unreachable(why) if why.starts_with("tls failed")),
        "{error}"
    );
    assert!(proxy.requests()[0].starts_with("CONNECT tracker.example:443 "));
    assert_eq!(tracker.connections(), 1);
}

#[test]
fn an_unusable_extra_ca_file_is_named_in_the_error() {
    let missing = Egress::new(
        Some("/nowhere/ca.pem".as_ref()),
        std::env::temp_dir(),
        1,
        OwnServer::default(),
    )
    .unwrap_err();
    assert!(missing.to_string().contains("`extra_ca_file` = \"/nowhere/ca.pem\""), "{missing}");
    let empty = tempfile::NamedTempFile::new().unwrap();
    assert!(
        Egress::new(Some(empty.path()), std::env::temp_dir(), 1, OwnServer::default()).is_err()
    );
    assert!(Egress::new(None, std::env::temp_dir(), 1, OwnServer::default()).is_ok());
}
