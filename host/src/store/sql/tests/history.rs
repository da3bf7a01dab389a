//! Tests of the stored events, runs, recordings and counts.

use tempfile::tempdir;

use super::*;
use crate::domain::{
    Call, Counts, Effect, Event, EventKind, EventSearch, LogLevel, LogLine, OutboundCall, Outcome,
    OutcomeCode, Percentiles, RECORDED_RUN_BYTES_MAX, ReceivedRequest, RunRecording, RunReport,
    RunTimes, Settings, TimedStep, TimedStepKind, TimedSteps, Usage,
};
use crate::store::sql::writer::Durability::Lazy;
use crate::store::sql::{connections, recordings};
use crate::store::{CachedCounts, EventFilter, Retention, WholeEvent};
use crate::store::{ConnectionStore as _, CountsStore as _};
use crate::store::{DefectStore as _, EventStore as _};

/// Returns event `number`, which was received at the instant `number`.
pub(super) fn an_event(
    number: u128,
    connection: Option<ConnectionId>,
    code: OutcomeCode,
    status: u16,
) -> Event {
    let kind = if connection.is_some() { EventKind::CreateDefect } else { EventKind::NoConnection };
    Event {
        id: EventId(Uuid::from_u128(number)),
        connection,
        kind,
        received_at: at(i64::try_from(number).unwrap()),
        ms: 12,
        status: Some(status),
        outcome: Outcome { code, detail: format!("{code}!") },
        request: ReceivedRequest {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            ..ReceivedRequest::default()
        },
        defect: None,
    }
}

fn a_run(call: Call) -> RunReport {
    let message = "asked".to_owned();
    RunReport {
        call,
        outcome: OutcomeCode::Ok,
        detail: String::new(),
        setting: Some("project".to_owned()),
        connector_version: "1.0.0".to_owned(),
        connector_sha256: "00".to_owned(),
        log: vec![LogLine { at_ms: 1, level: LogLevel::Warn, message }],
        calls: vec![OutboundCall {
            at_ms: 2,
            method: "POST".to_owned(),
            origin: "https://tracker.example".to_owned(),
            path: "/issues".to_owned(),
            query: Some("a=1".to_owned()),
            effect: Effect::Write,
            status: Some(201),
            ms: 30,
            bytes: 400,
            error: None,
            span: None,
        }],
        usage: Usage { memory_bytes: 65_536, polls: 3, ..Usage::default() },
        times: Some(RunTimes {
            requested_us: 900,
            started_us: Some(1_000),
            called_us: None,
            ended_us: 2_000,
        }),
        recording: None,
    }
}

#[tokio::test]
async fn the_steps_of_an_event_are_stored_in_the_order_of_time() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let step = |kind, at_us| TimedStep { kind, at_us, duration_us: 7 };
    let (claim, stored) = (step(TimedStepKind::Claim, 10), step(TimedStepKind::Store, 900));
    let (second, late) = (step(TimedStepKind::Claim, 300), step(TimedStepKind::Store, 2_000));
    let event = an_event(1, Some(id), OutcomeCode::Created, 200);
    // Record steps before the event, while the event is queued, after the event is stored, and
    // together with a run.
    store.record_timed_steps(event.id, stored.into());
    store.record_event(event.clone());
    store.record_timed_steps(event.id, claim.into());
    store.flush().await.unwrap();
    store.record_timed_steps(event.id, second.into());
    store.flush().await.unwrap();
    store.record_timed_steps(event.id, late.into());
    store.record_run(event.id, a_run(Call::Find));
    store.flush().await.unwrap();
    let kept = store.event(event.id).await.unwrap().unwrap();
    assert_eq!(kept.steps.iter().collect::<Vec<_>>(), [claim, second, stored, late]);
    assert_eq!(kept.runs, [a_run(Call::Find)]);
    // The steps of an event that was not recorded are not stored.
    store.record_timed_steps(EventId(Uuid::nil()), claim.into());
    store.flush().await.unwrap();
    assert_eq!(store.event(EventId(Uuid::nil())).await.unwrap(), None);
}

#[tokio::test]
async fn an_event_is_stored_with_its_runs_and_its_newest_state() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let running = an_event(1, Some(id), OutcomeCode::Running, 504);
    store.record_run(running.id, a_run(Call::Find));
    store.record_event(running.clone());
    store.flush().await.unwrap();
    store.record_run(running.id, a_run(Call::Create));
    let done = an_event(1, Some(id), OutcomeCode::Created, 200);
    store.record_event(done.clone());
    store.flush().await.unwrap();
    let kept = store.event(running.id).await.unwrap();
    let runs = vec![a_run(Call::Find), a_run(Call::Create)];
    assert_eq!(kept, Some(WholeEvent { event: done, steps: TimedSteps::default(), runs }));
    let record = store.connections().await.unwrap().remove(0).record;
    assert_eq!(record.last_success_at, Some(at(1)));
    assert_eq!(record.last_error, Some((at(1), "running!".to_owned())));
}

#[tokio::test]
async fn a_row_that_cannot_be_written_does_not_affect_the_other_rows_of_its_batch() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let unknown = ConnectionId(Uuid::max());
    for (number, connection) in [(1, id), (2, unknown), (3, id)] {
        store.record_event(an_event(number, Some(connection), OutcomeCode::NotFound, 404));
        store.record_run(EventId(Uuid::from_u128(number)), a_run(Call::Create));
    }
    store.flush().await.unwrap();
    let all = EventFilter { limit: 9, ..EventFilter::default() };
    let stored = store.events(&all).await.unwrap();
    assert_eq!(stored.iter().map(|event| event.id.0.as_u128()).collect::<Vec<_>>(), [3, 1]);
    let record = store.connections().await.unwrap().remove(0).record;
    assert_eq!(record.last_error, Some((at(3), "not-found!".to_owned())));
}

#[tokio::test]
async fn events_are_listed_newest_first_page_by_page() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    for number in 1..=5 {
        store.record_event(an_event(number, Some(id), OutcomeCode::Created, 200));
    }
    store.record_event(an_event(6, None, OutcomeCode::NotFound, 404));
    store.flush().await.unwrap();
    let mut filter = EventFilter { connection: Some(id), limit: 2, ..EventFilter::default() };
    let mut seen = Vec::new();
    loop {
        let page = store.events(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.id);
        seen.extend(page.iter().map(|event| event.id.0.as_u128()));
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let failed = EventFilter {
        outcome: Some(OutcomeCode::NotFound),
        kind: Some(EventKind::NoConnection),
        since: Some(at(6)),
        until: Some(at(7)),
        limit: 9,
        ..EventFilter::default()
    };
    assert_eq!(store.events(&failed).await.unwrap().len(), 1);
}

#[tokio::test]
async fn events_are_found_by_their_id_their_defect_and_words_of_their_error() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let lease = lease(&claim(&store, id, 0).await);
    let verdict = RowEnd::Created(defect("QA-7"));
    store.store_outcome(&lease, &verdict, &[], event(), at(1)).await.unwrap();
    for number in 1..=3 {
        let mut created = an_event(number, Some(id), OutcomeCode::Created, 200);
        created.outcome.detail = String::new();
        created.defect = (number != 2).then_some(lease.defect);
        store.record_event(created);
    }
    for (number, detail) in [(4, "The tracker is asleep"), (5, "QA-7: Tracker refused: asleep")] {
        let mut failed = an_event(number, Some(id), OutcomeCode::TrackerUnavailable, 502);
        failed.outcome.detail = detail.to_owned();
        store.record_event(failed);
    }
    // The error of event 4 changes.
    let mut changed = an_event(4, Some(id), OutcomeCode::TrackerUnavailable, 502);
    changed.outcome.detail = "The tracker is away".to_owned();
    store.flush().await.unwrap();
    store.record_event(changed);
    store.flush().await.unwrap();
    let found = async |text: &str, connection: Option<ConnectionId>| {
        let search = Some(EventSearch::new(text));
        let filter = EventFilter { search, connection, limit: 9, ..EventFilter::default() };
        let events = store.events(&filter).await.unwrap();
        events.iter().map(|event| event.id.0.as_u128()).collect::<Vec<_>>()
    };
    let test = failed_test(1);
    let link = format!("https://tm/{}/{}", test.test_execution_id, test.test_case_id);
    let other_link = format!("https://tm/{}/{}", Uuid::max(), test.test_case_id);
    for (text, events) in [
        (Uuid::from_u128(2).to_string(), vec![3, 2, 1]),
        (Uuid::from_u128(5).to_string(), vec![5]),
        (lease.defect.to_string(), vec![3, 1]),
        (link, vec![3, 1]),
        (other_link, vec![]),
        ("QA-7".to_owned(), vec![3, 1]),
        ("tracker".to_owned(), vec![5, 4]),
        ("asleep TRACKER".to_owned(), vec![5]),
        ("asleep tracker away".to_owned(), vec![]),
        ("is".to_owned(), vec![]),
    ] {
        assert_eq!(found(&text, Some(id)).await, events, "{text}");
        assert_eq!(found(&text, None).await, events, "{text}");
        assert!(found(&text, Some(ConnectionId(Uuid::max()))).await.is_empty(), "{text}");
    }
}

#[tokio::test]
async fn pruning_keeps_the_newest_events_within_the_retention() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    for number in 1..=8 {
        let connection = (number % 2 == 0).then_some(id);
        store.record_event(an_event(number, connection, OutcomeCode::NotFound, 404));
        store.record_run(EventId(Uuid::from_u128(number)), a_run(Call::Create));
    }
    // Record a run whose event was not stored.
    store.record_run(EventId(Uuid::nil()), a_run(Call::Check));
    store.flush().await.unwrap();
    let (events_since, confirmed_by) = (at(2), at(5));
    let retention = Retention {
        events_since,
        confirmed_by,
        events_max: 6,
        no_connection_events_max: 1,
        events_bytes_max: u64::MAX,
    };
    store.prune(retention).await.unwrap();
    let all = EventFilter { limit: 99, ..EventFilter::default() };
    let left = store.events(&all).await.unwrap();
    let left: Vec<_> = left.iter().map(|event| event.id.0.as_u128()).collect();
    assert_eq!(left, [8, 7, 6, 4]);
    for event in left {
        let found = store.event(EventId(Uuid::from_u128(event))).await.unwrap().unwrap();
        assert_eq!(found.runs.len(), 1);
    }
}

#[tokio::test]
async fn the_newest_events_within_the_maximum_size_are_kept() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    for number in 1..=20 {
        let mut event = an_event(number, Some(id), OutcomeCode::NotFound, 404);
        event.outcome.detail = "x".repeat(100_000);
        store.record_event(event);
        store.record_run(EventId(Uuid::from_u128(number)), a_run(Call::Create));
    }
    store.flush().await.unwrap();
    let bytes = async || number(&store, "SELECT bytes FROM history_size").await;
    let each = bytes().await / 20;
    assert!(each > 4_000 && each < 6_000, "a detail is shortened: {each}");
    let retention = |events_bytes_max| Retention {
        events_since: at(0),
        confirmed_by: at(0),
        events_max: 99,
        no_connection_events_max: 99,
        events_bytes_max,
    };
    store.prune(retention(u64::try_from(each * 5).unwrap())).await.unwrap();
    let all = EventFilter { limit: 99, ..EventFilter::default() };
    let left = store.events(&all).await.unwrap();
    let left: Vec<_> = left.iter().map(|event| event.id.0.as_u128()).collect();
    assert_eq!(left, [20, 19, 18, 17, 16]);
    store.prune(retention(0)).await.unwrap();
    assert_eq!((store.events(&all).await.unwrap().len(), bytes().await), (0, 0));
}

#[tokio::test]
async fn a_deleted_connection_is_hidden_at_once_and_its_rows_are_deleted_later_in_parts() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    for number in 1..=3_000 {
        store.record_event(an_event(number, Some(id), OutcomeCode::NotFound, 404));
    }
    store.flush().await.unwrap();
    let count = async || number(&store, "SELECT COUNT(*) FROM events").await;
    store.delete_connection(id, false).await.unwrap();
    assert_eq!(count().await, 3_000, "the events are deleted only later");
    let all = EventFilter { limit: 99, ..EventFilter::default() };
    assert!(store.events(&all).await.unwrap().is_empty());
    assert!(store.connections().await.unwrap().is_empty());
    assert!(matches!(store.delete_connection(id, false).await, Err(StoreError::NotFound(_))));
    store.create_connection(&stored_connection("shop")).await.unwrap();
    let delete_part =
        async || store.writer.run(Lazy, connections::delete_some_remaining_rows).await;
    assert!(delete_part().await.unwrap());
    assert_eq!(count().await, 2_500);
    while delete_part().await.unwrap() {}
    assert_eq!((count().await, store.connections().await.unwrap().len()), (0, 1));
}

#[tokio::test]
async fn old_events_are_deleted_only_if_a_newer_event_confirms_the_clock() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    for (number, ms) in [(1, 1), (2, 2), (3, 99_000)] {
        let event = an_event(number, Some(id), OutcomeCode::NotFound, 404);
        store.record_event(Event { received_at: at(ms), ..event });
    }
    store.flush().await.unwrap();
    let left = async |events_since, confirmed_by| {
        let (events_max, no_connection_events_max) = (99, 99);
        let retention = Retention {
            events_since,
            confirmed_by,
            events_max,
            no_connection_events_max,
            events_bytes_max: u64::MAX,
        };
        store.prune(retention).await.unwrap();
        let all = EventFilter { limit: 99, ..EventFilter::default() };
        store.events(&all).await.unwrap().len()
    };
    assert_eq!(left(at(50_000), at(98_000)).await, 3);
    assert_eq!(left(at(50_000), at(99_000)).await, 1);
}

#[tokio::test]
async fn if_counts_of_more_than_a_hundred_projects_are_stored_only_the_newest_stay() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let cached = |ms| CachedCounts {
        counts: Counts { open: 1, closed: 2, critical: 0, moderate: 1, critical_link: None },
        counted_at: at(ms),
    };
    for number in 0..100 {
        store.record_counts(id, &number.to_string(), cached(number));
    }
    store.flush().await.unwrap();
    assert_eq!(store.cached_counts(id, "0").await.unwrap(), Some(cached(0)));
    store.record_counts(id, "100", cached(100));
    store.record_counts(id, "100", cached(50));
    store.flush().await.unwrap();
    assert_eq!(store.cached_counts(id, "20").await.unwrap(), None);
    assert_eq!(store.cached_counts(id, "21").await.unwrap(), Some(cached(21)));
    assert_eq!(store.cached_counts(id, "100").await.unwrap(), Some(cached(100)));
}

#[tokio::test]
async fn an_edit_of_the_settings_deletes_the_counts_and_an_edit_of_the_name_does_not() {
    let folder = tempdir().unwrap();
    let store = open(&folder).await;
    let mut shop = stored_connection("shop");
    store.create_connection(&shop).await.unwrap();
    let counts = Counts { open: 1, closed: 2, critical: 0, moderate: 1, critical_link: None };
    let cached = CachedCounts { counts, counted_at: at(1) };
    store.record_counts(shop.record.connection.id, "1", cached.clone());
    shop.record.connection.name = "store".to_owned();
    store.update_connection(&shop, false).await.unwrap();
    let kept = store.cached_counts(shop.record.connection.id, "1").await.unwrap();
    assert_eq!(kept, Some(cached));
    shop.record.connection.settings.insert("project".to_owned(), "other".into());
    shop.record.revision += 1;
    store.update_connection(&shop, false).await.unwrap();
    assert_eq!(store.cached_counts(shop.record.connection.id, "1").await.unwrap(), None);
}

/// Returns a run with a recording of one exchange, which has this text.
fn run_with_recording(text: &str) -> RunReport {
    let recording = RunRecording {
        input: Settings::new(),
        exchanges: vec![text.to_owned()],
        answer: Some("returned".into()),
        missing: Some("why".to_owned()),
    };
    RunReport { recording: Some(recording), ..a_run(Call::Create) }
}

#[tokio::test]
async fn recordings_are_stored_while_the_connection_records_and_deleted_with_their_event() {
    let folder = tempdir().unwrap();
    let (store, connection) = store_with_connection(&folder).await;
    let event = |number| an_event(number, Some(connection), OutcomeCode::Created, 200);
    let record = |number, text: &str| {
        store.record_event(event(number));
        store.record_run(EventId(Uuid::from_u128(number)), run_with_recording(text));
    };
    let texts = async |number| {
        store.flush().await.unwrap();
        let runs = store.recording(EventId(Uuid::from_u128(number))).await.unwrap();
        runs.into_iter().flat_map(|run| run.recording.exchanges).collect::<Vec<_>>()
    };
    record(1, "before");
    assert!(texts(1).await.is_empty(), "the connection does not record");
    store.set_recording_until(connection, Some(at(9)), false).await.unwrap();
    record(2, "one");
    record(2, "two");
    assert_eq!(texts(2).await, ["one", "two"]);
    let found = store.event(EventId(Uuid::from_u128(2))).await.unwrap().unwrap();
    assert_eq!(found.runs, [a_run(Call::Create), a_run(Call::Create)]);
    store.set_recording_until(connection, None, false).await.unwrap();
    record(3, "after");
    assert_eq!((texts(3).await.len(), texts(2).await.len()), (0, 2));

    let retention = Retention {
        events_since: Timestamp::MIN,
        confirmed_by: Timestamp::MAX,
        events_max: 1,
        no_connection_events_max: 1,
        events_bytes_max: u64::MAX,
    };
    store.prune(retention).await.unwrap();
    assert!(texts(2).await.is_empty(), "its event was deleted");
    assert_eq!(number(&store, "SELECT bytes FROM recordings_size").await, 0);
}

#[tokio::test]
async fn the_size_of_recordings_is_limited_for_each_event_and_for_all_events_together() {
    let folder = tempdir().unwrap();
    let (store, connection) = store_with_connection(&folder).await;
    store.set_recording_until(connection, Some(at(9)), false).await.unwrap();
    let half = "a".repeat(usize::try_from(RECORDED_RUN_BYTES_MAX).unwrap());
    for number in [1, 2] {
        let id = EventId(Uuid::from_u128(number));
        store.record_event(an_event(number, Some(connection), OutcomeCode::Created, 200));
        for _ in 0..3 {
            store.record_run(id, run_with_recording(&half));
        }
        store.flush().await.unwrap();
        assert_eq!(store.recording(id).await.unwrap().len(), 1, "a second recording is too large");
    }
    let limit = |db: &dyn Database| recordings::delete_excess(db, RECORDED_RUN_BYTES_MAX + 1_000);
    store.writer.run(Lazy, limit).await.unwrap();
    let count =
        async |number| store.recording(EventId(Uuid::from_u128(number))).await.unwrap().len();
    assert_eq!((count(1).await, count(2).await), (0, 1), "the oldest is deleted");
    store.set_recording_until(connection, None, true).await.unwrap();
    assert_eq!(count(2).await, 0, "erased");
}

#[tokio::test]
async fn the_recent_usage_includes_only_runs_of_the_requested_connections() {
    let folder = tempdir().unwrap();
    let (store, connection) = store_with_connection(&folder).await;
    assert_eq!(store.recent_usage(vec![connection]).await.unwrap(), None);
    for number in 1..=3 {
        store.record_event(an_event(number, Some(connection), OutcomeCode::Created, 200));
        let cpu_ms = u64::try_from(number).unwrap() * 10;
        let usage = Usage { cpu_ms, ..Usage::default() };
        let run = RunReport { usage, ..a_run(Call::Create) };
        store.record_run(EventId(Uuid::from_u128(number)), run);
    }
    store.record_event(an_event(4, Some(connection), OutcomeCode::Counted, 200));
    store.flush().await.unwrap();
    let usage = store.recent_usage(vec![connection]).await.unwrap().unwrap();
    assert_eq!((usage.runs, usage.since), (3, at(1)));
    assert_eq!(usage.limits[0], ("cpu_ms", Percentiles { p50: 20, p99: 30 }));
    let other = ConnectionId(Uuid::from_u128(7));
    assert_eq!(store.recent_usage(vec![other]).await.unwrap(), None);
}
