//! Tests which requests are sent, and how often.

use super::*;
use crate::domain::{Counts, StringEnum as _};
use crate::report::AttachmentKind;
use crate::store::{CachedCounts, StoredConnection};

/// The parts of the data that the default description needs.
const DEFAULT_SUBJECTS: [Subject; 6] = [
    Subject::Project,
    Subject::TestCase,
    Subject::TestExecution,
    Subject::TestCaseLog,
    Subject::Assertions,
    Subject::RobotLogs,
];

#[tokio::test]
async fn the_default_report_with_a_screenshot_needs_six_requests() {
    let server = FakeTracker::answering(answer_without_fault).await;
    let setup = Setup { ..Setup::new(&server) };
    let setup = Setup {
        settings: TestManagerSettings { project_id: None, ..setup.settings.clone() },
        ..setup
    };
    let link = server.url("/org/tm_/SHOP/testexecution-results/1/2");
    let active = setup.active_connection();
    let source = setup.source_of_test(&active, &failed_test(None, Some(&link)));
    let data = source.fetch(&subject_set(&DEFAULT_SUBJECTS), test_deadline()).await;
    assert_eq!(data.gaps, []);
    let screenshot = &data.attachments[0];
    let content = source.download(screenshot, 100, test_deadline()).await.unwrap();
    assert_eq!(&content[..], b"\x89PNG...");
    assert_eq!(api_paths(&server).len(), 6, "{:?}", api_paths(&server));
    assert_eq!(server.requests().len(), 7, "more than one token was fetched");
    assert_eq!(source.calls(Instant::now()).len(), 7);
    assert_eq!(data.project.unwrap().prefix.as_deref(), Some("SHOP"));
    assert_eq!(data.test_case.unwrap().key.as_deref(), Some("SHOP:1"));
    assert_eq!(data.execution.unwrap().name.as_deref(), Some("Nightly"));
    assert_eq!((data.assertions.len(), data.robot_logs[0].message.as_str()), (1, "first"));

    // The next failed test uses the same project and token, and sends no request for them.
    let source = setup.source_of_test(&active, &failed_test(None, Some(&link)));
    let all = subject_set(&[&DEFAULT_SUBJECTS[..], &[Subject::Attachments]].concat());
    let data = source.fetch(&all, test_deadline()).await;
    assert_eq!((data.gaps, data.attachments.len()), (Vec::new(), 2));
    assert_eq!(server.requests().len(), 7 + 5, "{:?}", api_paths(&server));
}

#[tokio::test]
async fn only_the_needed_parts_are_requested() {
    let server = FakeTracker::answering(answer_without_fault).await;
    let setup = Setup::new(&server);
    let data = setup.fetch(&[]).await;
    assert_eq!(data, TestData::from_webhook_ids(&failed_test(None, None)));
    assert_eq!(server.requests().len(), 0, "no part was needed");
    for subject in Subject::ALL {
        let requests_before = server.requests().len();
        let data = setup.fetch(&[*subject]).await;
        assert_eq!(data.gaps, [], "{subject}");
        // Each fetch sends one request for the token, and requests for the part and for the parts
        // that it needs.
        let sent = server.requests().len() - requests_before;
        let sent_max = match subject {
            Subject::Attachments => 4,
            Subject::Assertions | Subject::Steps | Subject::TestSet => 3,
            _ => 2,
        };
        assert!(sent <= sent_max, "{subject}: {sent} requests");
    }
}

#[tokio::test]
async fn a_fetched_part_is_not_requested_again_when_its_json_is_read() {
    let server = FakeTracker::answering(answer_without_fault).await;
    let setup = Setup::new(&server);
    let source = setup.source(&setup.active_connection());
    let all: Vec<_> = Subject::ALL.to_vec();
    let data = source.fetch(&subject_set(&all), test_deadline()).await;
    assert_eq!(data.gaps, []);
    assert_eq!(data.custom_fields.len(), 1, "{:?}", data.custom_fields);
    assert_eq!(data.custom_fields[0].value, "blue");
    assert_eq!(
        (data.labels, data.steps.len(), data.history.len()),
        (vec!["smoke".to_owned()], 1, 1)
    );
    assert_eq!(data.requirements[0].key.as_deref(), Some("SHOP:9"));
    assert_eq!(data.test_set.unwrap().name.as_deref(), Some("Smoke"));
    let kinds: Vec<_> = data.attachments.iter().map(|file| file.kind).collect();
    assert_eq!(kinds, [AttachmentKind::Screenshot, AttachmentKind::File]);
    let before = server.requests().len();
    let json = source.subject_json(Subject::TestCaseLog, test_deadline()).await.unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json, log_json("l1", None));
    let json = source.subject_json(Subject::Labels, test_deadline()).await.unwrap();
    assert_eq!(json, r#"[{"name":"smoke"}]"#);
    assert_eq!(server.requests().len(), before);
}

#[tokio::test]
async fn a_request_has_a_token_and_a_user_agent_and_keeps_the_base_path() {
    let server = FakeTracker::answering(answer_without_fault).await;
    let setup = Setup::new(&server);
    setup.fetch(&[Subject::Project]).await;
    let [token_request, project_request] = <[String; 2]>::try_from(server.requests()).unwrap();
    assert!(token_request.starts_with("POST /identity/token "), "{token_request}");
    let form = format!(
        "grant_type=client_credentials&client_id=jackfield&client_secret={CLIENT_SECRET}\
         &scope=TM.Projects.Read+TM.TestExecutions.Read"
    );
    assert!(token_request.ends_with(&form), "{token_request}");
    assert!(!token_request.contains("authorization:"), "{token_request}");
    assert!(project_request.starts_with("GET /org/tm_/api/v2/projects/p1 "), "{project_request}");
    assert!(
        project_request.contains(&format!("authorization: Bearer {TOKEN}\r\n")),
        "{project_request}"
    );
    for request in [token_request, project_request] {
        assert!(request.contains("user-agent: jackfield/"), "{request}");
    }
}

#[tokio::test]
async fn without_a_project_in_the_link_the_pinned_or_last_counted_project_is_used() {
    let server = FakeTracker::answering(answer_without_fault).await;
    let mut setup = Setup::new(&server);
    setup.settings.project_id = None;
    let link = server.url("/UNKNOWN/testexecution-results/1/2");
    let test = failed_test(None, Some(&link));
    let source = |setup: &Setup| setup.source_of_test(&setup.active_connection(), &test);
    let project = subject_set(&[Subject::Project]);
    let data = source(&setup).fetch(&project, test_deadline()).await;
    let why = &data.gaps[0].why;
    for part in ["UNKNOWN", "404", "--test-manager-project"] {
        assert!(why.contains(part), "{part} in {why}");
    }

    let active = setup.active_connection();
    let record = crate::domain::ConnectionRecord {
        revision: 1,
        connection: active.connection.clone(),
        token_tail: "tail".to_owned(),
        last_success_at: None,
        last_error: None,
        index_lag_ms: 0,
    };
    let stored = StoredConnection { record, secrets: BTreeMap::new(), tokens: Vec::new() };
    setup.store.create_connection(&stored).await.unwrap();
    for (second, id) in [(1, "p0"), (3, "p1"), (2, "p2")] {
        let counts = Counts { open: 1, closed: 0, critical: 0, moderate: 0, critical_link: None };
        let counted_at = jiff::Timestamp::from_second(second).unwrap();
        let counts = CachedCounts { counts, counted_at };
        setup.store.record_counts(active.connection.id, id, counts);
    }
    setup.store.flush().await.unwrap();
    let data = source(&setup).fetch(&project, test_deadline()).await;
    assert_eq!(data.project.unwrap().id, "p1", "the project that was counted last must be used");

    setup.pinned_project = Some("p9".to_owned());
    let data = source(&setup).fetch(&project, test_deadline()).await;
    assert!(
        api_paths(&server).last().unwrap().ends_with("/projects/p9"),
        "the pinned project has priority over the counted one"
    );
    assert!(data.gaps[0].why.contains("404"), "{:?}", data.gaps);
}
