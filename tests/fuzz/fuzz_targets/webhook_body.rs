//! Any request below `/hooks`: head and body, up to the failed test that it is about and the event that
//! keeps it. No connection is looked up, no guest runs.
#![no_main]

use http::Request;
use jackfield::config::Webhook;
use jackfield::domain::FailedTest;
use jackfield::fuzz::{Hook, webhook};
use jackfield_fuzz::{Message, wait};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use uuid::Uuid;

fuzz_target!(|input: &[u8]| {
    let Some(message) = Message::read(input) else { return };
    let Some(hook) = read(&message) else { return };
    match &hook.test {
        Ok(test) => accepted(test),
        Err((status, words)) => refused(*status, words),
    }
    keeps_no_credential(&hook, &message);
});

fn read(message: &Message<'_>) -> Option<Hook> {
    let config = Webhook {
        create_defect_paths: vec!["/new".to_owned()],
        kpi_paths: vec!["/a{projectId}z".to_owned()],
        ..Webhook::default()
    };
    let mut request = Request::builder().method(message.method).uri(&message.address);
    for (name, value) in &message.headers {
        request = request.header(name, value);
    }
    let request = request.body(message.body.to_vec()).ok()?;
    Some(wait(webhook(request, &config)))
}

/// The key is normalised, and what it says is read as the same failed test.
fn accepted(test: &FailedTest) {
    let (execution, case, variation) = test.key();
    for id in [&execution, &case] {
        assert_eq!(Uuid::parse_str(id).map(|id| id.to_string()).as_ref(), Ok(id));
        assert_eq!(id.len(), 36);
        assert!(!id.bytes().any(|byte| byte.is_ascii_uppercase()));
    }
    let body = json!({
        "testExecutionId": execution.to_uppercase(),
        "testCaseId": case,
        "variationId": variation,
        "linkToTestCaseLog": test.link,
    });
    let body = body.to_string();
    let again =
        Message { method: "POST", address: "/".to_owned(), headers: vec![], body: body.as_bytes() };
    let again = read(&again).expect("a good request").test;
    assert_eq!(again.as_ref(), Ok(test));
}

fn refused(status: u16, words: &str) {
    assert!(matches!(status, 400 | 413 | 415), "status {status}: {words}");
    assert!(!words.is_empty());
    if status == 400 {
        assert!(words.chars().count() <= 300, "{} characters of complaint", words.chars().count());
    }
}

/// Neither the token nor what a header of credentials holds stands in the event.
fn keeps_no_credential(hook: &Hook, message: &Message<'_>) {
    let kept = &hook.event.request;
    assert!(kept.headers.len() <= 64);
    let is_token = hook.token.len() >= 20 && hook.token.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_token {
        assert!(!kept.path.contains(&hook.token), "{}", kept.path);
        assert!(!kept.body.as_ref().is_some_and(|body| body.contains(&hook.token)));
        assert!(!kept.headers.iter().any(|(_, value)| value.contains(&hook.token)));
    }
    for (name, value) in &message.headers {
        let is_credential = name.eq_ignore_ascii_case("authorization");
        let credential = value.rsplit(' ').next().filter(|last| is_credential && last.len() > 20);
        let Some(credential) = credential else { continue };
        let mut same = kept.headers.iter().filter(|(kept, _)| kept == "authorization");
        assert!(!same.any(|(_, value)| value.contains(credential)), "{credential}");
    }
}
