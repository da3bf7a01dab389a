//! Tests a Test Manager that refuses, fails, is slow, or answers with unexpected JSON.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A server that gives these answers to the first requests for a path, and good answers otherwise.
async fn failing(at: &'static str, answers: Vec<Vec<u8>>) -> (FakeTracker, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    let server = FakeTracker::answering(move |request| {
        if path(request) == at {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = answers.get(number) {
                return answer.clone();
            }
        }
        answer_well(request)
    });
    (server.await, count)
}

#[tokio::test]
async fn a_scope_that_is_not_granted_is_one_gap_that_names_the_scopes() {
    let refused = answer("400 Bad Request", &[], br#"{"error":"invalid_scope"}"#);
    let (server, count) = failing("/identity/token", vec![refused; 9]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project, Subject::RobotLogs]).await;
    let [gap] = &data.gaps[..] else { panic!("{:?}", data.gaps) };
    assert_eq!(gap.what, "the project and the robot's log");
    for part in ["invalid_scope", "TM.Projects.Read TM.TestExecutions.Read", "jackfield"] {
        assert!(gap.why.contains(part), "{part} in {}", gap.why);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1, "a refusal is not asked for again");
    assert_eq!(paths(&server).len(), 0);
}

#[tokio::test]
async fn wrong_credentials_are_a_gap_without_the_secret() {
    let echo = format!(r#"{{"error":"invalid_client","error_description":"not {CLIENT_SECRET}"}}"#);
    let refused = answer("401 Unauthorized", &[], echo.as_bytes());
    let (server, _) = failing("/identity/token", vec![refused; 9]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project]).await;
    let why = &data.gaps[0].why;
    assert!(why.contains("401, invalid_client, not [secret]"), "{why}");
}

#[tokio::test]
async fn a_token_that_is_not_accepted_any_more_is_replaced() {
    let refused = answer("401 Unauthorized", &[], b"");
    let (server, count) = failing("/projects/p1", vec![refused.clone()]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project]).await;
    assert_eq!(data.gaps, []);
    let tokens = server.requests().iter().filter(|it| path(it) == "/identity/token").count();
    assert_eq!((tokens, count.load(Ordering::SeqCst)), (2, 2));

    let (server, count) = failing("/projects/p1", vec![refused; 9]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project]).await;
    assert!(data.gaps[0].why.contains("401"), "{:?}", data.gaps);
    assert_eq!(count.load(Ordering::SeqCst), 2, "one new token is enough to know");
}

#[tokio::test]
async fn a_short_failure_is_repeated_and_a_long_one_is_a_gap() {
    let broken = answer("503 Service Unavailable", &[], b"");
    let (server, count) = failing("/projects/p1", vec![broken.clone(); 2]).await;
    assert_eq!(Setup::new(&server).fetch(&[Subject::Project]).await.gaps, []);
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let (server, count) = failing("/projects/p1", vec![broken; 9]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project]).await;
    assert!(data.gaps[0].why.contains("503"), "{:?}", data.gaps);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn the_rate_limit_is_waited_for_if_there_is_time() {
    let limited = |seconds| answer("429 Too Many Requests", &[("ratelimit-reset", seconds)], b"");
    let (server, count) = failing("/projects/p1", vec![limited("1")]).await;
    let began = Instant::now();
    assert_eq!(Setup::new(&server).fetch(&[Subject::Project]).await.gaps, []);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(count.load(Ordering::SeqCst), 2);

    let (server, count) = failing("/projects/p1", vec![limited("100"); 9]).await;
    let (setup, began) = (Setup::new(&server), Instant::now());
    let active = setup.active();
    for _ in 0..2 {
        let source = setup.source(&active);
        let data = source.fetch(&set(&[Subject::Project]), soon()).await;
        assert!(data.gaps[0].why.contains("rate limit"), "{:?}", data.gaps);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1, "a request was sent beyond the limit");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn the_last_request_of_a_limit_closes_it_until_it_resets() {
    let headers = [("ratelimit-remaining", "0"), ("ratelimit-reset", "200")];
    let last = answer("200 OK", &headers, br#"{"id":"p1","name":"Shop"}"#);
    let (server, _) = failing("/projects/p1", vec![last]).await;
    let setup = Setup::new(&server);
    let active = setup.active();
    let (first, second) = (setup.source(&active), setup.source(&active));
    assert_eq!(first.fetch(&set(&[Subject::Project]), soon()).await.gaps, []);
    let data = second.fetch(&set(&[Subject::TestExecution]), soon()).await;
    assert!(data.gaps[0].why.contains("rate limit"), "{:?}", data.gaps);
    assert_eq!(paths(&server).len(), 1);
}

#[tokio::test]
async fn what_hangs_ends_by_the_deadline() {
    for hangs in ["/identity/token", "/projects/p1"] {
        let server = FakeTracker::scripted(move |_, mut stream, requests| async move {
            use tokio::io::AsyncWriteExt as _;
            while let Some(request) = requests.read(&mut stream).await {
                if path(&request) == hangs {
                    std::future::pending::<()>().await;
                }
                stream.write_all(&answer_well(&request)).await.unwrap();
            }
        });
        let server = server.await;
        let setup = Setup::new(&server);
        let (source, began) = (setup.source(&setup.active()), Instant::now());
        let deadline = began + Duration::from_millis(700);
        let data = source.fetch(&set(&[Subject::Project, Subject::TestCase]), deadline).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{hangs}: {:?}", began.elapsed());
        let why = &data.gaps[0].why;
        let said = if hangs == "/projects/p1" {
            "in time"
        } else {
            "/identity/token did not answer in time"
        };
        assert!(why.contains(said), "{hangs}: {why}");
    }
}

#[tokio::test]
async fn odd_answers_are_gaps_that_say_what_came() {
    let page = b"<html><head><title>Sign in</title></head></html>";
    let html = [("content-type", "text/html")];
    for (given, said) in [
        (answer("200 OK", &html, page), "with a web page (\"Sign in\") instead of JSON"),
        (answer("403 Forbidden", &html, page), "403 with a web page (\"Sign in\")"),
        (answer("403 Forbidden", &[], b""), "TM.Projects.Read"),
        (answer("200 OK", &[], b"{"), "instead of JSON"),
        (answer("200 OK", &[], b"null"), "no project"),
        (answer("200 OK", &[], b"[]"), "no project"),
        (not_found(), "404"),
    ] {
        let (server, _) = failing("/projects/p1", vec![given; 9]).await;
        let data = Setup::new(&server).fetch(&[Subject::Project, Subject::TestCase]).await;
        let [gap] = &data.gaps[..] else { panic!("{:?}", data.gaps) };
        assert!(gap.why.contains(said), "{said} in {}", gap.why);
        assert!(data.test_case.is_some(), "one failure is not the failure of all");
    }
    let big = format!("[{}1]", "1,".repeat(3 << 20));
    let (server, _) = failing("/projects/p1", vec![answer("200 OK", &[], big.as_bytes())]).await;
    let data = Setup::new(&server).fetch(&[Subject::Project]).await;
    assert!(data.gaps[0].why.contains("more than 4194304 bytes"), "{:?}", data.gaps);
}
