//! Tests the cookies of a run: with which requests they are sent, how many are stored, and that
//! their values are redacted.

use super::*;

/// Returns the header `Cookie` of each request.
fn sent_cookies(tracker: &FakeTracker) -> Vec<Option<String>> {
    let cookie_header = |request: &String| {
        let line = request.lines().find_map(|line| line.strip_prefix("cookie: "));
        line.map(str::to_owned)
    };
    tracker.requests().iter().map(cookie_header).collect()
}

fn preparation(url: String) -> OutboundRequest {
    with_effect(post(url, ""), Effect::Prepare)
}

#[tokio::test]
async fn cookies_of_a_login_are_sent_until_the_run_ends() {
    let tracker = FakeTracker::answering(|request| {
        let set = if request.starts_with("POST /login") {
            vec![
                ("Set-Cookie", "id=0123456789abcdef; Path=/; HttpOnly"),
                ("set-cookie", "theme=dark"),
            ]
        } else if request.starts_with("GET /logout") {
            vec![("set-cookie", "id=; Path=/; Max-Age=0")]
        } else {
            Vec::new()
        };
        answer("200 OK", &set, b"{}")
    })
    .await;
    let builder = RequestsBuilder::granting(&[&tracker.origin()]);
    let active = builder.active();
    let run_requests = builder.requests_of(&active, TestJournal::allowing().permission());
    run_requests.send(preparation(tracker.url("/login"))).await.unwrap();
    run_requests.send(post(tracker.url("/issues"), "{}")).await.unwrap();
    run_requests.send(with_header(get(tracker.url("/a")), "cookie", "id=mine; x=1")).await.unwrap();
    run_requests.send(get(tracker.url("/logout"))).await.unwrap();
    run_requests.send(get(tracker.url("/b"))).await.unwrap();
    let requests_of_other_run = builder.requests_of(&active, Permission::Reads);
    requests_of_other_run.send(get(tracker.url("/c"))).await.unwrap();
    let id = "id=0123456789abcdef";
    let sent = sent_cookies(&tracker);
    let sent: Vec<_> = sent.iter().map(Option::as_deref).collect();
    let mut both: Vec<_> = sent[1].unwrap().split("; ").collect();
    both.sort_unstable();
    assert_eq!(both, [id, "theme=dark"]);
    assert_eq!((sent[0], sent[2]), (None, Some("id=mine; x=1; theme=dark")));
    assert_eq!((sent[4], sent[5]), (Some("theme=dark"), None));
}

#[tokio::test]
async fn a_cookie_is_not_sent_to_another_origin_and_cookies_over_the_limits_are_ignored() {
    let other = FakeTracker::answering(|_| answer("200 OK", &[], b"")).await;
    let tracker = FakeTracker::answering(|_| {
        let set_cookies: Vec<_> = (0..60).map(|n| format!("c{n}={}", "x".repeat(900))).collect();
        let set_cookies: Vec<_> =
            set_cookies.iter().map(|cookie| ("set-cookie", cookie.as_str())).collect();
        answer("200 OK", &set_cookies, b"")
    })
    .await;
    let run_requests =
        RequestsBuilder::granting(&[&tracker.origin(), &other.origin()]).read_only_requests();
    run_requests.send(get(tracker.url("/"))).await.unwrap();
    run_requests.send(get(tracker.url("/"))).await.unwrap();
    run_requests.send(get(other.url("/"))).await.unwrap();
    let sent = sent_cookies(&tracker)[1].clone().unwrap();
    assert!((10_000..17_000).contains(&sent.len()), "{}", sent.len());
    assert_eq!(sent_cookies(&other), [None]);
}

/// The value of the cookie is redacted from the record, even if the guest uses it in a path.
#[tokio::test]
async fn the_value_of_a_cookie_is_redacted_from_the_record_and_from_logs() {
    let tracker = FakeTracker::answering(|_| {
        answer("200 OK", &[("set-cookie", "id=0123456789abcdef; Path=/")], b"")
    })
    .await;
    let run_requests = RequestsBuilder::granting(&[&tracker.origin()]).read_only_requests();
    run_requests.send(get(tracker.url("/"))).await.unwrap();
    run_requests.send(get(tracker.url("/0123456789abcdef/"))).await.unwrap();
    let (calls, _) = run_requests.finish().await;
    assert_eq!(calls[1].path, "/[secret]/");
    assert_eq!(run_requests.redact("id 0123456789abcdef".to_owned()), "id [secret]");
}

#[tokio::test]
async fn a_cookie_can_be_replaced_and_deleted_when_the_origin_has_the_maximum_number() {
    let tracker = FakeTracker::answering(|request| {
        let mut cookies: Vec<_> = (0..50).map(|n| format!("c{n}=old")).collect();
        if request.starts_with("GET /second") {
            cookies =
                ["c0=; Max-Age=0", "c1=new", "c2=; Max-Age=0", "c50=1"].map(str::to_owned).into();
        }
        let headers: Vec<_> = cookies.iter().map(|it| ("set-cookie", it.as_str())).collect();
        answer("200 OK", &headers, b"")
    })
    .await;
    let run_requests = RequestsBuilder::granting(&[&tracker.origin()]).read_only_requests();
    for path in ["/", "/second", "/third"] {
        run_requests.send(get(tracker.url(path))).await.unwrap();
    }
    let sent = sent_cookies(&tracker)[2].clone().unwrap();
    let cookies: Vec<_> = sent.split("; ").collect();
    assert!(cookies.contains(&"c1=new"), "{sent}");
    for absent in ["c0=", "c2=", "c50="] {
        assert!(!cookies.iter().any(|cookie| cookie.starts_with(absent)), "{absent} in {sent}");
    }
    assert_eq!(cookies.len(), 48, "{sent}");
}
