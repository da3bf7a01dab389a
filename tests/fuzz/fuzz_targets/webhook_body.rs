//! Fuzzes the reading of webhook requests: the host makes a failed test and an event from the head
//! and the body of a request. No guest runs.
#![no_main]

use http::Request;
use jackfield::config::Webhook;
use jackfield::domain::{Event, FailedTest};
use jackfield::fuzz::{ReadWebhook, read_webhook};
use jackfield_fuzz::{InputRequest, run_to_completion};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use uuid::Uuid;

fuzz_target!(|input: &[u8]| {
    let Some(message) = InputRequest::parse(input) else { return };
    let Some(read) = read_message(&message) else { return };
    match &read.test {
        Ok(test) => assert_accepted_test(test),
        Err((status, detail)) => assert_refusal(*status, detail),
    }
    assert_no_credentials(&read.event, &read.token, &message);
});

fn read_message(message: &InputRequest<'_>) -> Option<ReadWebhook> {
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
    Some(run_to_completion(read_webhook(request, &config)))
}

/// Asserts that the ids of the failed test are not all-zero, and that its texts contain no control
/// characters except tabs and line breaks. Asserts that a body with the same values is read as the
/// same failed test.
fn assert_accepted_test(test: &FailedTest) {
    let (execution, case, variation) = test.key();
    for id in [execution, case] {
        assert!(!id.is_nil(), "an all-zero id was accepted");
    }
    assert!(!Uuid::parse_str(variation).is_ok_and(|id| id.is_nil()), "not set");
    for text in [Some(variation), test.link.as_deref()].into_iter().flatten() {
        assert!(!text.contains(|c: char| c.is_control() && !"\t\n\r".contains(c)), "{text:?}");
    }
    let body = json!({
        "testExecutionId": execution.to_string().to_uppercase(),
        "testCaseId": case,
        "variationId": variation,
        "linkToTestCaseLog": test.link,
    });
    let body = body.to_string();
    let again = InputRequest {
        method: "POST",
        address: "/".to_owned(),
        headers: vec![],
        body: body.as_bytes(),
    };
    let again = read_message(&again).expect("a valid request").test;
    assert_eq!(again.as_ref(), Ok(test));
}

/// Asserts that a refused request has the status 400, 413 or 415, and a reason. With the status
/// 400, the reason must be short.
fn assert_refusal(status: u16, detail: &str) {
    assert!(matches!(status, 400 | 413 | 415), "status {status}: {detail}");
    assert!(!detail.is_empty());
    if status == 400 {
        let length = detail.chars().count();
        assert!(length <= 300, "the detail has {length} characters");
    }
}

/// Asserts that the event contains neither the webhook token nor the credential of the header
/// `authorization`. Skips short values.
fn assert_no_credentials(event: &Event, token: &str, message: &InputRequest<'_>) {
    let recorded = &event.request;
    assert!(recorded.headers.len() <= 64);
    let is_token = token.len() >= 20 && token.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_token {
        assert!(!recorded.path.contains(token), "{}", recorded.path);
        assert!(!recorded.body.as_ref().is_some_and(|body| body.contains(token)));
        assert!(!recorded.headers.iter().any(|(_, value)| value.contains(token)));
    }
    for (name, value) in &message.headers {
        let is_credential = name.eq_ignore_ascii_case("authorization");
        let credential = value.rsplit(' ').next().filter(|last| is_credential && last.len() > 20);
        let Some(credential) = credential else { continue };
        let mut same = recorded.headers.iter().filter(|(name, _)| name == "authorization");
        assert!(!same.any(|(_, value)| value.contains(credential)), "{credential}");
    }
}
