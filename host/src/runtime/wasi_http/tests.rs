//! Tests requests through `wasi:http`: they are converted completely, and the rules of egress apply
//! to them.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http_body_util::Empty;
use hyper::body::{Body, Frame};

use super::*;
use crate::domain::WriteAnswer;
use crate::egress::tests::{FakeTracker, RequestsBuilder, TestJournal, answer};

fn request(method: Method, uri: &str) -> Request<WasiBody> {
    let body = Empty::<Bytes>::new().map_err(Error::from).boxed_unsync();
    Request::builder().method(method).uri(uri).body(body).unwrap()
}

async fn send(
    run_requests: &Arc<RunRequests>,
    request: Request<WasiBody>,
) -> Result<ResponseAndIo, Error> {
    let io_done = Box::new(async { Ok(()) });
    Pin::from(WasiHttp::new(Arc::clone(run_requests)).send_request(request, None, io_done)).await
}

/// A body that never ends.
struct EndlessBody;

impl Body for EndlessBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

#[tokio::test]
async fn a_request_and_its_response_are_converted_completely() {
    let tracker = FakeTracker::answering(|_| answer("201 Created", &[("x-a", "b")], b"{}")).await;
    let journal = TestJournal::allowing();
    let run_requests =
        RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
    let mut post = request(Method::POST, &tracker.url("/issues.json?a"));
    *post.body_mut() = Full::from("whole").map_err(Error::from).boxed_unsync();
    let (answer, _) = send(&run_requests, post).await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers().get("x-a").unwrap(), "b");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{}");
    assert!(tracker.requests()[0].starts_with("POST /issues.json?a HTTP/1.1\r\n"));
    assert!(tracker.requests()[0].ends_with("\r\n\r\nwhole"));
    assert_eq!(run_requests.finish().await.1[0].answer, WriteAnswer::Status(201));
    assert_eq!(journal.marks(), ["marked"]);
}

#[tokio::test]
async fn the_effect_header_is_not_sent_to_the_tracker() {
    let tracker = FakeTracker::answering(|_| answer("200 OK", &[], b"")).await;
    let run_requests = RequestsBuilder::granting(&[&tracker.origin()]).read_only_requests();
    let uri = tracker.url("/search");
    assert!(matches!(
        send(&run_requests, request(Method::POST, &uri)).await,
        Err(Error::HttpRequestDenied)
    ));
    let mut search = request(Method::POST, &uri);
    search.headers_mut().insert(EFFECT_HEADER, HeaderValue::from_static("read"));
    let _ = send(&run_requests, search).await.unwrap();
    assert!(!tracker.requests()[0].contains("jackfield-effect"));
    let mut unknown_effect = request(Method::POST, &uri);
    unknown_effect.headers_mut().insert(EFFECT_HEADER, HeaderValue::from_static("none"));
    assert!(matches!(
        send(&run_requests, unknown_effect).await,
        Err(Error::InternalError(Some(_)))
    ));
}

#[tokio::test]
async fn an_endless_request_body_is_refused_at_its_limit() {
    let mut builder = RequestsBuilder::granting(&["http://127.0.0.1:1"]);
    builder.limits.request_body_bytes = 10_000;
    let run_requests = builder.requests_with(TestJournal::allowing().permission());
    let mut post = request(Method::POST, "http://127.0.0.1:1/");
    *post.body_mut() = EndlessBody.boxed_unsync();
    let Err(Error::InternalError(Some(why))) = send(&run_requests, post).await else {
        panic!("the request must be refused")
    };
    assert!(why.contains("`limits.request_body_bytes` = 10000"), "{why}");
}

#[tokio::test]
async fn the_rules_of_egress_apply_to_requests_through_wasi_http() {
    let run_requests = RequestsBuilder::granting(&["http://127.0.0.1:1", "http://tracker.example"])
        .read_only_requests();
    for uri in [
        "http://elsewhere.example/",
        "http://[::ffff:127.0.0.1]:1/",
        "http://169.254.169.254/latest",
        "https://127.0.0.1:1/",
    ] {
        let denied = send(&run_requests, request(Method::GET, uri)).await;
        assert!(matches!(denied, Err(Error::HttpRequestDenied)), "{uri}");
    }
    for uri in ["http://user@127.0.0.1:1/", "http://tracker.example./", "gopher://127.0.0.1:1/"] {
        let invalid = send(&run_requests, request(Method::GET, uri)).await;
        assert!(matches!(invalid, Err(Error::InternalError(Some(_)))), "{uri}");
    }
    let connect = send(&run_requests, request(Method::CONNECT, "http://127.0.0.1:1/")).await;
    assert!(matches!(connect, Err(Error::HttpRequestDenied)));
    let mut hooks = WasiHttp::new(run_requests);
    assert!(hooks.is_forbidden_header(&AUTHORIZATION));
    // HTTP libraries set these headers. The host accepts them here, and removes them later.
    for name in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
        assert!(!hooks.is_forbidden_header(&name), "{name}");
    }
    assert!(!hooks.set_host_header());
}
