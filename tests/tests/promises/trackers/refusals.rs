//! Trackers refuse calls with different statuses, headers and bodies. The answers in this file
//! follow the vendors' references. The test checks which outcome `jackfield invoke` reports, and
//! that its output contains certain texts.

use std::fs;

use serde_json::{Value, json};

use super::CONNECTORS;

struct Refusal {
    connector: &'static str,
    /// The name of the call, and of the folder of its recording. The test replaces the first answer
    /// in this folder.
    call: &'static str,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    /// The outcome that `jackfield invoke` must report.
    code: &'static str,
    /// Texts that the output of `jackfield invoke` must contain.
    texts: &'static [&'static str],
}

const REFUSALS: [Refusal; 17] = [
    Refusal {
        connector: "github",
        call: "check",
        status: 403,
        headers: &[("retry-after", "30")],
        body: r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}"#,
        code: "tracker-rate-limited",
        texts: &["You have exceeded a secondary rate limit", "30"],
    },
    Refusal {
        connector: "github",
        call: "check",
        status: 403,
        headers: &[],
        body: r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#,
        code: "tracker-rate-limited",
        texts: &["You have exceeded a secondary rate limit", "60"],
    },
    Refusal {
        connector: "github",
        call: "check",
        status: 403,
        headers: &[
            ("date", "Sat, 28 Nov 2026 23:59:17 GMT"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1795911000"),
        ],
        body: r#"{"message":"API rate limit exceeded for user ID 5000001."}"#,
        code: "tracker-rate-limited",
        texts: &["API rate limit exceeded"],
    },
    Refusal {
        connector: "github",
        call: "check",
        status: 403,
        headers: &[("x-ratelimit-remaining", "4987")],
        body: r#"{"message":"Resource not accessible by personal access token"}"#,
        code: "credentials-refused",
        texts: &["Resource not accessible by personal access token"],
    },
    Refusal {
        connector: "github",
        call: "create-defect",
        status: 422,
        headers: &[],
        body: r#"{"message":"Validation Failed","errors":[{"resource":"Issue","field":"assignees","code":"invalid"}]}"#,
        code: "rejected",
        texts: &["Validation Failed", "assignees is invalid"],
    },
    Refusal {
        connector: "jira",
        call: "create-defect",
        status: 400,
        headers: &[],
        body: r#"{"errorMessages":[],"errors":{"priority":"The priority selected is invalid."}}"#,
        code: "rejected",
        texts: &["priority: The priority selected is invalid."],
    },
    Refusal {
        connector: "jira",
        call: "check",
        status: 429,
        headers: &[("retry-after", "12"), ("x-ratelimit-nearlimit", "true")],
        body: r#"{"errorMessages":["Rate limit exceeded."]}"#,
        code: "tracker-rate-limited",
        texts: &["Rate limit exceeded.", "12"],
    },
    Refusal {
        connector: "azure-devops",
        call: "check",
        status: 203,
        headers: &[],
        body: "<!DOCTYPE html><html><head><title>Azure DevOps Services | Sign In</title></head></html>",
        code: "credentials-refused",
        texts: &["sign-in page", "token"],
    },
    Refusal {
        connector: "azure-devops",
        call: "create-defect",
        status: 302,
        headers: &[(
            "location",
            "https://spsprodweu1.vssps.visualstudio.com/_signin?realm=dev.azure.com",
        )],
        body: "<html><head><title>Object moved</title></head></html>",
        code: "credentials-refused",
        texts: &["sign-in page"],
    },
    Refusal {
        connector: "azure-devops",
        call: "create-defect",
        status: 400,
        headers: &[],
        body: r#"{"$id":"1","message":"TF401320: Rule Error for field Severity. Error code: Required, InvalidEmpty.","typeKey":"RuleValidationException"}"#,
        code: "rejected",
        texts: &["TF401320: Rule Error for field Severity"],
    },
    Refusal {
        connector: "servicenow",
        call: "check",
        status: 200,
        headers: &[],
        body: "<html><head><title>Instance Hibernating page</title></head><body>Sorry, this instance is hibernating.</body></html>",
        code: "tracker-unavailable",
        texts: &["not with JSON"],
    },
    Refusal {
        connector: "servicenow",
        call: "create-defect",
        status: 403,
        headers: &[],
        body: r#"{"error":{"message":"Operation Failed","detail":"ACL Exception Insert Failed due to security constraints"},"status":"failure"}"#,
        code: "credentials-refused",
        texts: &["Operation Failed; ACL Exception Insert Failed due to security constraints"],
    },
    Refusal {
        connector: "servicenow",
        call: "check",
        status: 429,
        headers: &[("retry-after", "59"), ("x-ratelimit-limit", "10")],
        body: r#"{"error":{"message":"Rate limit exceeded","detail":"Rejected as request limit per hour is reached"},"status":"failure"}"#,
        code: "tracker-rate-limited",
        texts: &["Rate limit exceeded", "59"],
    },
    Refusal {
        connector: "request-tracker",
        call: "create-defect",
        status: 403,
        headers: &[],
        body: r#"{"message":"No permission to create tickets in the queue 'qa'"}"#,
        code: "credentials-refused",
        texts: &["No permission to create tickets in the queue"],
    },
    Refusal {
        connector: "gitlab",
        call: "create-defect",
        status: 400,
        headers: &[],
        body: r#"{"message":{"title":["can't be blank"]}}"#,
        code: "rejected",
        texts: &["can't be blank"],
    },
    Refusal {
        connector: "gitlab",
        call: "check",
        status: 429,
        headers: &[("retry-after", "31")],
        body: "Retry later",
        code: "tracker-rate-limited",
        texts: &["Retry later", "31"],
    },
    Refusal {
        connector: "gitlab",
        call: "check",
        status: 403,
        headers: &[],
        body: r#"{"error":"insufficient_scope","error_description":"The request requires higher privileges than provided by the access token.","scope":"api"}"#,
        code: "credentials-refused",
        texts: &["requires higher privileges"],
    },
];

#[test]
fn each_refusal_is_reported_with_the_text_of_the_tracker() {
    for refusal in &REFUSALS {
        let connector = CONNECTORS.iter().find(|it| it.name == refusal.connector);
        let connector = connector.expect("a connector");
        let project = connector.create_project();
        let first_exchange = project.path(&format!("recording/{}/0001.json", refusal.call));
        let text = fs::read_to_string(&first_exchange).expect("an exchange");
        let mut exchange: Value = serde_json::from_str(&text).expect("JSON");
        let content_type =
            if refusal.body.starts_with('<') { "text/html" } else { "application/json" };
        let mut headers = vec![("content-type", content_type)];
        headers.extend(refusal.headers);
        exchange["response"] =
            json!({"status": refusal.status, "headers": headers, "body": refusal.body});
        fs::write(&first_exchange, exchange.to_string()).expect("the exchange is written");
        let event: &[&str] =
            if refusal.call == "create-defect" { &["--event", "event.json"] } else { &[] };
        let answer = connector.replay(&project, refusal.call, refusal.call, event);
        let name = refusal.connector;
        println!("{name}: {}: {}", answer["outcome"], answer["detail"]);
        assert_eq!(answer["outcome"], refusal.code, "{name}: {answer:#}");
        for text in refusal.texts {
            assert!(answer.to_string().contains(text), "{name}: {text} in {answer:#}");
        }
    }
}
