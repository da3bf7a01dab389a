//! Tests the download of screenshots and files.

use super::*;
use crate::report::{Attachment, AttachmentKind};

fn screenshot() -> Attachment {
    Attachment {
        kind: AttachmentKind::Screenshot,
        source_id: "a1".to_owned(),
        name: "end.png".to_owned(),
        media_type: "image/png".to_owned(),
        size: None,
    }
}

/// Starts a Test Manager that redirects the download of screenshots to another URL.
async fn redirecting_server(target: String) -> FakeTracker {
    FakeTracker::answering(move |request| {
        if api_path(request).ends_with("/downloadscreenshot") {
            answer(
                "302 Found",
                &[("location", &target), ("set-cookie", "session=1234567890ab")],
                b"",
            )
        } else {
            answer_without_fault(request)
        }
    })
    .await
}

#[tokio::test]
async fn a_redirect_to_another_origin_must_be_allowed_and_gets_no_credentials() {
    let files = FakeTracker::answering(|_| answer("200 OK", &[], b"\x89PNG there")).await;
    let server = redirecting_server(files.url("/f?sig=temporary")).await;
    let mut setup = Setup::new(&server);
    let refused = setup
        .source(&setup.active_connection())
        .download(&screenshot(), 100, test_deadline())
        .await;
    let gap = refused.unwrap_err().gap;
    assert!(gap.what.contains("end.png"), "{gap:?}");
    for part in [&files.origin(), "--test-manager-asset-origin"] {
        assert!(gap.why.contains(part), "{part} in {}", gap.why);
    }
    assert_eq!(files.requests().len(), 0);

    setup.settings.asset_origins = vec![files.origin().parse().unwrap()];
    let content = setup
        .source(&setup.active_connection())
        .download(&screenshot(), 100, test_deadline())
        .await;
    assert_eq!(&content.unwrap()[..], b"\x89PNG there");
    let [request] = <[String; 1]>::try_from(files.requests()).unwrap();
    assert!(request.starts_with("GET /f?sig=temporary "), "{request}");
    for secret in [TOKEN, CLIENT_SECRET, "authorization", "cookie"] {
        assert!(!request.to_lowercase().contains(secret), "{secret} in {request}");
    }
}

#[tokio::test]
async fn a_redirect_url_that_contains_the_token_is_refused() {
    let files = FakeTracker::answering(|_| answer("200 OK", &[], b"x")).await;
    let server = redirecting_server(files.url(&format!("/f?t={TOKEN}"))).await;
    let mut setup = Setup::new(&server);
    setup.settings.asset_origins = vec![files.origin().parse().unwrap()];
    let gap = setup
        .source(&setup.active_connection())
        .download(&screenshot(), 100, test_deadline())
        .await
        .unwrap_err()
        .gap;
    assert!(!gap.why.contains(TOKEN), "{gap:?}");
    assert_eq!(files.requests().len(), 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_becomes_a_gap() {
    let large = vec![b'x'; 200_000];
    for (file_answer, expected) in [
        (answer("200 OK", &[], &large), "more than 100000 bytes"),
        (not_found_answer(), "404"),
        (answer("200 OK", &[], b"<html><title>Sign in</title>"), "instead of an image"),
    ] {
        let server = FakeTracker::answering(move |request| {
            let is_file = api_path(request).ends_with("/downloadscreenshot");
            if is_file { file_answer.clone() } else { answer_without_fault(request) }
        });
        let server = server.await;
        let setup = Setup::new(&server);
        let source = setup.source(&setup.active_connection());
        let gap = source.download(&screenshot(), 100_000, test_deadline()).await.unwrap_err().gap;
        assert!(gap.why.contains(expected), "{expected} in {}", gap.why);
        let with_size = Attachment { size: Some(200 << 20), ..screenshot() };
        let requests_before = server.requests().len();
        let error = source.download(&with_size, 100_000, test_deadline()).await.unwrap_err();
        assert!(error.gap.why.contains("209715200 bytes") && error.is_too_large, "{error:?}");
        assert_eq!(
            server.requests().len(),
            requests_before,
            "a request was sent for a file that is too large"
        );
        let robot_log = Attachment { kind: AttachmentKind::RobotLog, ..screenshot() };
        assert!(source.download(&robot_log, 100, test_deadline()).await.is_err());
    }
}

#[tokio::test]
async fn a_large_file_is_downloaded_unchanged() {
    let content: Vec<u8> = (0..3_000_000_u32).map(|index| (index % 251) as u8).collect();
    let sent = content.clone();
    let server = FakeTracker::answering(move |request| match api_path(request) {
        "/p1/attachments/f1/download" => answer("200 OK", &[], &sent),
        _ => answer_without_fault(request),
    });
    let server = server.await;
    let setup = Setup::new(&server);
    let file =
        Attachment { kind: AttachmentKind::File, source_id: "f1".to_owned(), ..screenshot() };
    let read = setup
        .source(&setup.active_connection())
        .download(&file, 10 << 20, test_deadline())
        .await
        .unwrap();
    assert!(read == content, "{} bytes", read.len());
}
