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

/// A Test Manager that redirects the download of screenshots to another address.
async fn redirecting(to: String) -> FakeTracker {
    FakeTracker::answering(move |request| {
        if path(request).ends_with("/downloadscreenshot") {
            answer("302 Found", &[("location", &to), ("set-cookie", "session=1234567890ab")], b"")
        } else {
            answer_well(request)
        }
    })
    .await
}

#[tokio::test]
async fn another_origin_is_followed_only_where_it_is_listed_and_without_credentials() {
    let files = FakeTracker::answering(|_| answer("200 OK", &[], b"\x89PNG there")).await;
    let server = redirecting(files.url("/f?sig=temporary")).await;
    let mut setup = Setup::new(&server);
    let refused = setup.source(&setup.active()).download(&screenshot(), 100, soon()).await;
    let gap = refused.unwrap_err();
    assert!(gap.what.contains("end.png"), "{gap:?}");
    for part in [&files.origin(), "--test-manager-asset-origin"] {
        assert!(gap.why.contains(part), "{part} in {}", gap.why);
    }
    assert_eq!(files.requests().len(), 0);

    setup.settings.asset_origins = vec![files.origin().parse().unwrap()];
    let content = setup.source(&setup.active()).download(&screenshot(), 100, soon()).await;
    assert_eq!(&content.unwrap()[..], b"\x89PNG there");
    let [seen] = <[String; 1]>::try_from(files.requests()).unwrap();
    assert!(seen.starts_with("GET /f?sig=temporary "), "{seen}");
    for secret in [TOKEN, CLIENT_SECRET, "authorization", "cookie"] {
        assert!(!seen.to_lowercase().contains(secret), "{secret} in {seen}");
    }
}

#[tokio::test]
async fn a_redirect_that_carries_the_token_is_refused() {
    let files = FakeTracker::answering(|_| answer("200 OK", &[], b"x")).await;
    let server = redirecting(files.url(&format!("/f?t={TOKEN}"))).await;
    let mut setup = Setup::new(&server);
    setup.settings.asset_origins = vec![files.origin().parse().unwrap()];
    let gap = setup.source(&setup.active()).download(&screenshot(), 100, soon()).await.unwrap_err();
    assert!(!gap.why.contains(TOKEN), "{gap:?}");
    assert_eq!(files.requests().len(), 0);
}

#[tokio::test]
async fn a_file_that_is_too_large_gone_or_no_image_is_a_gap() {
    let large = vec![b'x'; 200_000];
    for (given, said) in [
        (answer("200 OK", &[], &large), "more than 100000 bytes"),
        (not_found(), "404"),
        (answer("200 OK", &[], b"<html><title>Sign in</title>"), "instead of an image"),
    ] {
        let server = FakeTracker::answering(move |request| {
            let is_file = path(request).ends_with("/downloadscreenshot");
            if is_file { given.clone() } else { answer_well(request) }
        });
        let server = server.await;
        let setup = Setup::new(&server);
        let source = setup.source(&setup.active());
        let gap = source.download(&screenshot(), 100_000, soon()).await.unwrap_err();
        assert!(gap.why.contains(said), "{said} in {}", gap.why);
        let known = Attachment { size: Some(200 << 20), ..screenshot() };
        let before = server.requests().len();
        let gap = source.download(&known, 100_000, soon()).await.unwrap_err();
        assert!(gap.why.contains("209715200 bytes"), "{gap:?}");
        assert_eq!(server.requests().len(), before, "a file that is known to be too large");
        let robot_log = Attachment { kind: AttachmentKind::RobotLog, ..screenshot() };
        assert!(source.download(&robot_log, 100, soon()).await.is_err());
    }
}

#[tokio::test]
async fn a_large_file_is_read_byte_for_byte() {
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let sent = content.clone();
    let server = FakeTracker::answering(move |request| match path(request) {
        "/p1/attachments/f1/download" => answer("200 OK", &[], &sent),
        _ => answer_well(request),
    });
    let server = server.await;
    let setup = Setup::new(&server);
    let file =
        Attachment { kind: AttachmentKind::File, source_id: "f1".to_owned(), ..screenshot() };
    let read = setup.source(&setup.active()).download(&file, 10 << 20, soon()).await.unwrap();
    assert!(read == content, "{} bytes", read.len());
}
