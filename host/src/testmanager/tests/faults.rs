//! Tests reads from a Test Manager that refuses requests, fails, is slow, or returns unexpected
//! JSON.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Starts a server that returns `answers` to the first requests for `failing_path`, and answers all
/// other requests without faults. Returns the server, and the number of requests for
/// `failing_path`.
async fn server_with_failing_path(
    failing_path: &'static str,
    answers: Vec<Vec<u8>>,
) -> (FakeTracker, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let request_count = Arc::clone(&count);
    let server = FakeTracker::answering(move |request| {
        if api_path(request) == failing_path {
            let number = request_count.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = answers.get(number) {
                return answer.clone();
            }
        }
        answer_without_fault(request)
    });
    (server.await, count)
}

#[tokio::test]
async fn a_refused_scope_becomes_one_gap_that_names_the_scopes() {
    let refused = answer("400 Bad Request", &[], br#"{"error":"invalid_scope"}"#);
    let (server, count) = server_with_failing_path("/identity/token", vec![refused; 9]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project, Subject::RobotLogs]).await;
    let [gap] = &data.gaps[..] else { panic!("{:?}", data.gaps) };
    assert_eq!(gap.what, "the project and the robot's log");
    for part in ["invalid_scope", "TM.Projects.Read TM.TestExecutions.Read", "jackfield"] {
        assert!(gap.why.contains(part), "{part} in {}", gap.why);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1, "a refused request for a token was repeated");
    assert_eq!(api_paths(&server).len(), 0);
}

#[tokio::test]
async fn wrong_credentials_become_a_gap_without_the_secret() {
    let echo = format!(r#"{{"error":"invalid_client","error_description":"not {CLIENT_SECRET}"}}"#);
    let refused = answer("401 Unauthorized", &[], echo.as_bytes());
    let (server, _) = server_with_failing_path("/identity/token", vec![refused; 9]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project]).await;
    let why = &data.gaps[0].why;
    assert!(why.contains("401, invalid_client, not [secret]"), "{why}");
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once() {
    let refused = answer("401 Unauthorized", &[], b"");
    let (server, count) = server_with_failing_path("/projects/p1", vec![refused.clone()]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project]).await;
    assert_eq!(data.gaps, []);
    let tokens =
        server.requests().iter().filter(|request| api_path(request) == "/identity/token").count();
    assert_eq!((tokens, count.load(Ordering::SeqCst)), (2, 2));

    let broken = answer("503 Service Unavailable", &[], b"");
    let answers = vec![broken, refused.clone()];
    let (server, count) = server_with_failing_path("/projects/p1", answers).await;
    assert_eq!(Setup::new(&server).fetch(&[Subject::Project]).await.gaps, []);
    assert_eq!(count.load(Ordering::SeqCst), 3);

    let (server, count) = server_with_failing_path("/projects/p1", vec![refused; 9]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project]).await;
    assert!(data.gaps[0].why.contains("401"), "{:?}", data.gaps);
    assert_eq!(count.load(Ordering::SeqCst), 2, "more than one new token was requested");
}

#[tokio::test]
async fn a_request_is_repeated_after_a_temporary_failure() {
    let broken = answer("503 Service Unavailable", &[], b"");
    let (server, count) = server_with_failing_path("/projects/p1", vec![broken.clone(); 2]).await;
    assert_eq!(Setup::new(&server).fetch(&[Subject::Project]).await.gaps, []);
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let (server, count) = server_with_failing_path("/projects/p1", vec![broken; 9]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project]).await;
    assert!(data.gaps[0].why.contains("503"), "{:?}", data.gaps);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_request_waits_for_the_rate_limit_within_its_deadline() {
    let rate_limited =
        |seconds| answer("429 Too Many Requests", &[("ratelimit-reset", seconds)], b"");
    let (server, count) = server_with_failing_path("/projects/p1", vec![rate_limited("1")]).await;
    let started = Instant::now();
    assert_eq!(Setup::new(&server).fetch(&[Subject::Project]).await.gaps, []);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(count.load(Ordering::SeqCst), 2);

    let (server, count) =
        server_with_failing_path("/projects/p1", vec![rate_limited("100"); 9]).await;
    let (setup, started) = (Setup::new(&server), Instant::now());
    let active = setup.active_connection();
    for _ in 0..2 {
        let source = setup.source(&active);
        let data = source.fetch(&subject_set(&[Subject::Project]), test_deadline()).await;
        assert!(data.gaps[0].why.contains("rate limit"), "{:?}", data.gaps);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1, "a request was sent beyond the limit");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn no_request_is_sent_while_the_rate_limit_allows_none() {
    let headers = [("ratelimit-remaining", "0"), ("ratelimit-reset", "200")];
    let last = answer("200 OK", &headers, br#"{"id":"p1","name":"Shop"}"#);
    let (server, _) = server_with_failing_path("/projects/p1", vec![last]).await;
    let setup = Setup::new(&server);
    let active = setup.active_connection();
    let (first, second) = (setup.source(&active), setup.source(&active));
    assert_eq!(first.fetch(&subject_set(&[Subject::Project]), test_deadline()).await.gaps, []);
    let data = second.fetch(&subject_set(&[Subject::TestExecution]), test_deadline()).await;
    assert!(data.gaps[0].why.contains("rate limit"), "{:?}", data.gaps);
    assert_eq!(api_paths(&server).len(), 1);
}

#[tokio::test]
async fn a_request_without_an_answer_ends_at_the_deadline() {
    for hanging_path in ["/identity/token", "/projects/p1"] {
        let server = FakeTracker::scripted(move |_, mut stream, requests| async move {
            use tokio::io::AsyncWriteExt as _;
            while let Some(request) = requests.read(&mut stream).await {
                if api_path(&request) == hanging_path {
                    std::future::pending::<()>().await;
                }
                stream.write_all(&answer_without_fault(&request)).await.unwrap();
            }
        });
        let server = server.await;
        let setup = Setup::new(&server);
        let (source, started) = (setup.source(&setup.active_connection()), Instant::now());
        let deadline = started + Duration::from_millis(700);
        let data =
            source.fetch(&subject_set(&[Subject::Project, Subject::TestCase]), deadline).await;
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{hanging_path}: {:?}",
            started.elapsed()
        );
        let why = &data.gaps[0].why;
        let expected = if hanging_path == "/projects/p1" {
            "in time"
        } else {
            "/identity/token did not answer in time"
        };
        assert!(why.contains(expected), "{hanging_path}: {why}");
    }
}

#[tokio::test]
async fn unexpected_answers_are_described_in_gaps() {
    let page = b"<html><head><title>Sign in</title></head></html>";
    let html = [("content-type", "text/html")];
    for (unexpected, expected) in [
        (answer("200 OK", &html, page), "with a web page (\"Sign in\") instead of JSON"),
        (answer("403 Forbidden", &html, page), "403 with a web page (\"Sign in\")"),
        (answer("403 Forbidden", &[], b""), "TM.Projects.Read"),
        (answer("200 OK", &[], b"{"), "instead of JSON"),
        (answer("200 OK", &[], b"null"), "no project"),
        (answer("200 OK", &[], b"[]"), "no project"),
        (not_found_answer(), "404"),
    ] {
        let (server, _) = server_with_failing_path("/projects/p1", vec![unexpected; 9]).await;
        let data = Setup::new(&server).fetch(&[Subject::Project, Subject::TestCase]).await;
        let [gap] = &data.gaps[..] else { panic!("{:?}", data.gaps) };
        assert!(gap.why.contains(expected), "{expected} in {}", gap.why);
        assert!(data.test_case.is_some(), "the other part was not fetched");
    }
    let big = format!("[{}1]", "1,".repeat(3 << 20));
    let (server, _) =
        server_with_failing_path("/projects/p1", vec![answer("200 OK", &[], big.as_bytes())]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project]).await;
    assert!(data.gaps[0].why.contains("more than 4194304 bytes"), "{:?}", data.gaps);
}
