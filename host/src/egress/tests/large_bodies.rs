//! Tests response bodies above 1 MiB. Such a body is redacted and stored in a file. Everything
//! except the secrets is returned unchanged.

use super::*;

const SECRET: &str = "s3cr3t/k\"y-long";

/// Returns a body that echoes the secret very often, in two forms.
fn echoing_body(bytes: usize) -> String {
    let unit = format!("{}{SECRET}-{}", "x".repeat(997), SECRET.replace('/', "\\/"));
    unit.repeat(bytes / unit.len())
}

/// Sends a read to a tracker that answers with this body. Returns the result and the run.
async fn exchange(
    body: &str,
    spool_bytes_max: u64,
) -> (Result<OutboundResponse, HttpError>, Arc<RunRequests>) {
    let bytes = body.as_bytes().to_vec();
    let tracker = FakeTracker::answering(move |_| answer("200 OK", &[], &bytes)).await;
    let origin = tracker.origin();
    let mut builder =
        RequestsBuilder::granting(&[&origin]).secret("key", SECRET, &origin, SecretPlace::Bearer);
    builder.spool_bytes_max = spool_bytes_max;
    let run_requests = builder.read_only_requests();
    (run_requests.send(get(run_requests.url("/"))).await, run_requests)
}

#[tokio::test]
async fn a_large_body_is_redacted_in_its_file_and_charged_only_while_it_is_in_memory() {
    let body = echoing_body(5 << 20);
    let (answer, run_requests) = exchange(&body, 64 << 20).await;
    let answer = answer.unwrap();
    assert!(matches!(answer.body, Body::Spooled(_)));
    let limit = Limits::default().memory_bytes;
    assert_eq!(run_requests.memory().bytes_left(), limit, "the body is not charged to the memory");
    let OutboundResponse { body: redacted, .. } = answer;
    let (redacted, charge) = redacted.into_memory(run_requests.memory()).await.unwrap();
    let expected =
        body.replace(SECRET, "[secret]").replace(&SECRET.replace('/', "\\/"), "[secret]");
    assert!(redacted == expected.as_bytes(), "{} bytes, not {}", redacted.len(), expected.len());
    assert_eq!(run_requests.memory().bytes_left(), limit - expected.len() as u64);
    drop(charge);
    assert_eq!(run_requests.memory().bytes_left(), limit);
}

/// In the body, the short secret is a value, a name and a part of a path.
#[tokio::test]
async fn a_short_secret_in_a_large_body_is_redacted_only_where_it_is_a_whole_value() {
    let units = ["/issue/7,", r#"{"issue":"issue"},"#, "a/issue "];
    let unit = |n: usize| units[usize::from(n.is_multiple_of(97)) + usize::from(n % 97 > 48) * 2];
    let filler = (0..600_000).map(unit).collect::<String>();
    let body = filler.as_bytes().to_vec();
    let tracker = FakeTracker::answering(move |_| answer("200 OK", &[], &body)).await;
    let origin = tracker.origin();
    let builder =
        RequestsBuilder::granting(&[&origin]).secret("key", "issue", &origin, SecretPlace::Bearer);
    let run_requests = builder.read_only_requests();
    let answer = run_requests.send(get(run_requests.url("/"))).await.unwrap();
    assert!(matches!(answer.body, Body::Spooled(_)));
    let (redacted, _) = answer.body.into_memory(run_requests.memory()).await.unwrap();
    let expected = filler.replace(r#":"issue""#, r#":"[secret]""#);
    assert!(redacted == expected.as_bytes(), "{} bytes, not {}", redacted.len(), expected.len());
}

#[tokio::test]
async fn a_body_over_the_spool_limit_is_refused_and_the_limit_is_named() {
    let (answer, _) = exchange(&echoing_body(5 << 20), 16 << 20).await;
    let Err(HttpError::Limit(why)) = answer else { panic!("the body must be refused") };
    assert!(why.contains("`spool_bytes_max` = 16777216"), "{why}");
}

#[tokio::test]
async fn a_write_is_not_sent_if_there_is_no_memory_for_its_answer() {
    let tracker = FakeTracker::answering(|_| answer("201 Created", &[], b"{}")).await;
    let journal = TestJournal::allowing();
    let run_requests =
        RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
    let charge =
        run_requests.memory().charge(run_requests.memory().bytes_left() - (1 << 20)).unwrap();
    let refused = run_requests.send(post(run_requests.url("/"), "{}")).await.unwrap_err();
    assert!(matches!(&refused, HttpError::Limit(why) if why.contains("`limits.memory_bytes`")));
    assert_eq!((journal.marks().len(), tracker.requests().len()), (0, 0));
    drop(charge);
    assert_eq!(run_requests.send(post(run_requests.url("/"), "{}")).await.unwrap().status, 201);
}
