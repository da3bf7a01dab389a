//! Tests how lists are read: the logs of an execution, and the log lines of a robot.

use super::*;

/// Starts a server that answers requests for logs with `logs(skip)`, and all other requests without
/// faults.
async fn server_with_logs(
    logs: impl Fn(usize) -> Value + Clone + Send + Sync + 'static,
) -> FakeTracker {
    FakeTracker::answering(move |request| {
        if !api_path(request).ends_with("/paged") || api_path(request).contains("robotlogs") {
            return answer_without_fault(request);
        }
        json_answer(&logs(query_parameter(request, "skip")))
    })
    .await
}

/// Returns a query parameter as a number; 0 if the request does not have the parameter.
fn query_parameter(request: &str, name: &str) -> usize {
    let target = request.split(' ').nth(1).unwrap();
    let (_, text) = target.split_once(&format!("{name}=")).unwrap_or_default();
    text.split('&').next().unwrap().parse().unwrap_or_default()
}

/// Returns a log of another test case.
fn other_log(number: usize) -> Value {
    json!({"id": format!("o{number}"), "testCaseId": Uuid::from_u128(99)})
}

#[tokio::test]
async fn the_log_is_searched_in_all_pages_up_to_a_limit() {
    let page = |skip: usize, total: usize| {
        let data: Vec<_> = (skip..(skip + 200).min(total)).map(other_log).collect();
        json!({"data": data, "paging": {"total": total}})
    };
    let server = server_with_logs(move |skip| match skip {
        400 => json!({"data": [other_log(1), log_json("l1", None)], "paging": {"total": 402}}),
        skip => page(skip, 402),
    });
    let server = server.await;
    let data = Setup::new(&server).fetch(&[Subject::Assertions]).await;
    assert_eq!((data.gaps, data.assertions.len()), (Vec::new(), 1));
    assert_eq!(api_paths(&server).len(), 4);

    let server = server_with_logs(move |skip| match page(skip, 10_001) {
        mut last if skip == 10_000 => {
            last["data"] = json!([log_json("l1", None)]);
            last
        }
        page => page,
    });
    let data = Setup::new(&server.await).fetch(&[Subject::TestCaseLog]).await;
    assert_eq!((data.gaps, data.log.map(|log| log.id).as_deref()), (Vec::new(), Some("l1")));

    let server = server_with_logs(move |skip| page(skip, 30_000)).await;
    let data = Setup::new(&server).fetch(&[Subject::TestCaseLog, Subject::Assertions]).await;
    let [gap] = &data.gaps[..] else { panic!("{:?}", data.gaps) };
    assert_eq!(gap.what, "the log of the failed test and the assertions");
    let why = "the log was not found when the search stopped: \
               Test Manager has 30000 entries, and 20000 were read";
    assert_eq!(gap.why, why);
    assert_eq!(api_paths(&server).len(), 100);

    // A server may return fewer logs than the parameter `top` asks for.
    let server = server_with_logs(|skip| match skip {
        0 => json!({"data": [other_log(0), other_log(1)], "paging": {"total": 3}}),
        skip => json!({"data": [log_json(&format!("l{skip}"), None)], "paging": {"total": 3}}),
    });
    let data = Setup::new(&server.await).fetch(&[Subject::TestCaseLog]).await;
    assert_eq!(data.log.map(|log| log.id).as_deref(), Some("l2"));

    let server = server_with_logs(move |skip| match skip {
        0 => page(0, 300),
        _ => json!({"data": [], "paging": {"total": 300}}),
    });
    let data = Setup::new(&server.await).fetch(&[Subject::TestCaseLog]).await;
    let why = &data.gaps[0].why;
    assert!(why.contains("has 300 entries, and 200 were read"), "{why}");

    let server = server_with_logs(move |_| page(0, 10_000)).await;
    let data = Setup::new(&server).fetch(&[Subject::TestCaseLog]).await;
    assert!(data.gaps[0].why.contains("the same page repeatedly"), "{:?}", data.gaps);
    assert!(api_paths(&server).len() <= 5, "{}", api_paths(&server).len());
}

#[tokio::test]
async fn a_gap_reports_how_many_logs_were_searched() {
    let server = FakeTracker::scripted(|_, mut stream, requests| async move {
        use tokio::io::AsyncWriteExt as _;
        while let Some(request) = requests.read(&mut stream).await {
            if query_parameter(&request, "skip") == 600 {
                std::future::pending::<()>().await;
            }
            let logs: Vec<_> = (0..200)
                .map(|index| other_log(index + query_parameter(&request, "skip")))
                .collect();
            let answer = match request.contains("/paged?") {
                true => json_answer(&json!({"data": logs, "paging": {"total": 10_000}})),
                false => answer_without_fault(&request),
            };
            stream.write_all(&answer).await.unwrap();
        }
    });
    let server = server.await;
    let setup = Setup::new(&server);
    let deadline = Instant::now() + Duration::from_millis(1_500);
    let source = setup.source(&setup.active_connection());
    let data = source.fetch(&subject_set(&[Subject::TestCaseLog]), deadline).await;
    let why = &data.gaps[0].why;
    assert!(why.contains("the search stopped after 600 of 10000 entries"), "{why}");
}

#[tokio::test]
async fn a_page_that_is_too_large_is_requested_with_fewer_items() {
    let long = "x".repeat(60_000);
    let server = FakeTracker::answering(move |request| {
        if !request.contains("/testcaselogs/testexecution/") {
            return answer_without_fault(request);
        }
        let (top, skip) = (query_parameter(request, "top"), query_parameter(request, "skip"));
        let item = |index: usize| {
            let mut log = if index == 150 { log_json("l1", None) } else { other_log(index) };
            log["info"] = json!(long);
            log
        };
        let logs: Vec<_> = (skip..(skip + top).min(160)).map(item).collect();
        json_answer(&json!({"data": logs, "paging": {"total": 160}}))
    });
    let server = server.await;
    let data = Setup::new(&server).fetch(&[Subject::TestCaseLog]).await;
    assert_eq!((data.gaps, data.log.map(|log| log.id).as_deref()), (Vec::new(), Some("l1")));
}

#[tokio::test]
async fn only_the_log_lines_of_the_variation_are_read() {
    let time_at = |minute: u32, second: u32| format!("2026-01-01T10:{minute:02}:{second:02}Z");
    let server = FakeTracker::answering(move |request| {
        let lines = |minute: u32| {
            (0..150).map(move |line| {
                let second = 59 - line * 60 / 150;
                json!({"timeStamp": time_at(minute, second), "message": format!("{minute} {line}")})
            })
        };
        if request.contains("/robotlogs/") {
            // The newest lines come first: 5 minutes of later variations, the minute of the
            // variation `Row 4`, and the minute of an earlier variation.
            let lines: Vec<_> = (3..10).rev().flat_map(lines).collect();
            let page: Vec<_> =
                lines.iter().skip(query_parameter(request, "skip")).take(200).collect();
            return json_answer(&json!({"data": page, "paging": {"total": lines.len()}}));
        }
        let mut log = log_json("l1", Some("Row 4"));
        log["executionStart"] = json!(time_at(4, 0));
        log["executionEnd"] = json!(time_at(4, 57));
        let mut log_with_wrong_clock = log.clone();
        log_with_wrong_clock["variationId"] = json!("Row 6");
        log_with_wrong_clock["executionStart"] = json!(time_at(40, 0));
        log_with_wrong_clock["executionEnd"] = json!(time_at(40, 57));
        match request.contains("/testcaselogs/testexecution/") {
            true => {
                json_answer(&json!({"data": [log, log_with_wrong_clock], "paging": {"total": 2}}))
            }
            false => answer_without_fault(request),
        }
    });
    let server = server.await;
    let setup = Setup::new(&server);
    let source =
        setup.source_of_test(&setup.active_connection(), &failed_test(Some("Row 4"), None));
    let data = source.fetch(&subject_set(&[Subject::RobotLogs]), test_deadline()).await;
    let own_count = data.robot_logs.iter().filter(|line| line.message.starts_with("4 ")).count();
    let other_count = data.robot_logs.len() - own_count;
    assert_eq!((data.gaps, own_count), (Vec::new(), 150));
    assert!(other_count < 10, "{other_count} lines of other variations");

    for variation in ["Row 5", "Row 6"] {
        let source =
            setup.source_of_test(&setup.active_connection(), &failed_test(Some(variation), None));
        let data = source.fetch(&subject_set(&[Subject::RobotLogs]), test_deadline()).await;
        assert_eq!(data.gaps[0].why, "it contains lines of all variations of the test case");
        assert_eq!(data.robot_logs.len(), 200, "{variation}");
    }
}

#[tokio::test]
async fn a_log_of_another_variation_is_not_chosen() {
    let server =
        server_with_logs(|_| json!([log_json("l1", Some("Row 1")), log_json("l2", Some("Row 2"))]))
            .await;
    let setup = Setup::new(&server);
    for (variation, found) in [(Some("Row 2"), Some("l2")), (Some("Row 3"), None), (None, None)] {
        let source =
            setup.source_of_test(&setup.active_connection(), &failed_test(variation, None));
        let data = source.fetch(&subject_set(&[Subject::TestCaseLog]), test_deadline()).await;
        assert_eq!(data.log.map(|log| log.id).as_deref(), found, "{variation:?}");
        if found.is_none() {
            assert!(data.gaps[0].why.contains("no log of the test case is"), "{:?}", data.gaps);
        }
    }
    let server = server_with_logs(|_| json!([log_json("l1", None), log_json("l2", None)])).await;
    let data = Setup::new(&server).fetch(&[Subject::TestCaseLog]).await;
    assert!(data.log.is_some() && data.gaps[0].why.contains("2 logs match"), "{:?}", data.gaps);
}
