//! Tests of how many statements an event costs, and of which tables some statements read. If a
//! change needs more statements, raise the number here and give the reason in a comment.

use std::cell::RefCell;

use rusqlite::Connection as Sqlite;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::domain::{
    Call, Event, EventKind, EventSearch, OutcomeCode, ReceivedRequest, RunReport, TimedStep,
    TimedStepKind, Usage,
};
use crate::store::EventFilter;
use crate::store::sql::events::EventRow;
use crate::store::sql::{claims, connection_records, doubts, events, follow_up_rows, moves, usage};

thread_local! {
    static STATEMENTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn trace_statements(db: &Sqlite, work: impl FnOnce()) -> Vec<String> {
    db.trace_v2(
        TraceEventCodes::SQLITE_TRACE_STMT,
        Some(|event| {
            // A trigger is traced as a comment.
            if let TraceEvent::Stmt(_, sql) = event
                && !sql.starts_with("--")
            {
                STATEMENTS.with_borrow_mut(|all| all.push(sql.to_owned()));
            }
        }),
    );
    work();
    db.trace_v2(TraceEventCodes::empty(), None);
    STATEMENTS.take()
}

/// Returns the number of temporary tables that these statements make. A temporary table costs more
/// than the rest of most statements.
fn count_temporary_tables(db: &Sqlite, statements: &[String]) -> usize {
    let of = |sql: &String| {
        let mut explain = db.prepare(&format!("EXPLAIN {sql}")).unwrap();
        let steps = explain.raw_query().mapped(|row| row.get::<_, String>("opcode"));
        steps.filter(|step| step.as_ref().unwrap() == "OpenEphemeral").count()
    };
    statements.iter().map(of).sum()
}

/// Returns the steps of a statement's plan that read a table from start to end.
fn scans(db: &Sqlite, sql: &str) -> Vec<String> {
    let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = explain.raw_query().mapped(|row| row.get::<_, String>("detail"));
    steps.map(Result::unwrap).filter(|step| step.starts_with("SCAN")).collect()
}

fn open_file(folder: &TempDir) -> Sqlite {
    let db = Sqlite::open(folder.path().join("jackfield.db")).unwrap();
    db.pragma_update(None, "foreign_keys", true).unwrap();
    db
}

fn created_event(connection: ConnectionId) -> Event {
    Event {
        id: event(),
        connection: Some(connection),
        kind: EventKind::CreateDefect,
        received_at: at(0),
        ms: 9,
        status: Some(200),
        outcome: OutcomeCode::Created.into(),
        request: ReceivedRequest::default(),
        defect: None,
    }
}

fn create_run() -> RunReport {
    RunReport {
        call: Call::Create,
        outcome: OutcomeCode::Ok,
        detail: String::new(),
        setting: None,
        connector_version: "1.0.0".to_owned(),
        connector_sha256: "00".to_owned(),
        log: Vec::new(),
        calls: Vec::new(),
        usage: Usage::default(),
        times: None,
        recording: None,
    }
}

#[tokio::test]
async fn a_create_and_its_event_cost_five_statements() {
    let folder = tempdir().unwrap();
    let (store, connection) = store_with_connection(&folder).await;
    store.close().await;
    let db = &open_file(&folder);
    let mut granted = None;
    let claim = Claim {
        connection,
        test: failed_test(1),
        event: event(),
        now: at(0),
        lease_until: at(LEASE_MS),
        run_ms: RUN_MS,
        awaited_fence: None,
        rows_in_work_if_recurrence: None,
    };
    let claimed = trace_statements(db, || granted = Some(claims::claim(db, &claim, None).unwrap()));
    let granted = lease(&granted.unwrap());
    let sent = trace_statements(db, || {
        moves::mark_sending(db, granted.clone(), write(at(1)), at(1)).unwrap();
    });
    let stored = trace_statements(db, || {
        let verdict = RowEnd::Created(defect("7"));
        moves::store_outcome(db, granted, verdict, &[], event(), at(2)).unwrap();
    });
    let recorded = trace_statements(db, || {
        let step = TimedStep { kind: TimedStepKind::Store, at_us: 7, duration_us: 9 };
        let row =
            EventRow::new(created_event(connection), &step.into(), vec![create_run()]).unwrap();
        events::store(db, &[&row]).unwrap();
    });
    let counted = [claimed, sent, stored, recorded];
    let tables = counted.each_ref().map(|statements| count_temporary_tables(db, statements));
    assert_eq!(counted.each_ref().map(Vec::len), [2, 1, 1, 1], "{counted:#?}");
    assert_eq!(tables, [0, 0, 0, 0], "{counted:#?}");
}

#[tokio::test]
async fn the_sweep_never_reads_all_defects() {
    let folder = tempdir().unwrap();
    let (store, _) = store_with_connection(&folder).await;
    store.close().await;
    let db = &open_file(&folder);
    let sweep = trace_statements(db, || {
        doubts::due_searches(db, at(0), RUN_MS, Vec::new(), DUE_LIMITS).unwrap();
        follow_up_rows::list_due(db, at(0), Vec::new(), DUE_LIMITS).unwrap();
    });
    assert!(sweep.len() >= 3, "{sweep:#?}");
    let all = sweep.iter().flat_map(|sql| scans(db, sql));
    let of_defects = |step: &String| ["SCAN defects", "SCAN d"].contains(&step.as_str());
    assert_eq!(all.filter(of_defects).collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test]
async fn reading_one_connection_does_not_read_the_other_connections() {
    let folder = tempdir().unwrap();
    let (store, connection) = store_with_connection(&folder).await;
    store.close().await;
    let db = &open_file(&folder);
    let read = trace_statements(db, || {
        let found = connection_records::read(db, Some(connection)).unwrap();
        assert_eq!(found.len(), 1);
    });
    assert!(read.len() >= 3, "{read:#?}");
    let scans = read.iter().flat_map(|sql| scans(db, sql)).collect::<Vec<_>>();
    assert_eq!(scans, Vec::<String>::new());
}

#[tokio::test]
async fn the_recent_usage_reads_only_the_newest_events_of_its_connections() {
    let folder = tempdir().unwrap();
    let (store, connection) = store_with_connection(&folder).await;
    store.close().await;
    let db = &open_file(&folder);
    let all = trace_statements(db, || {
        usage::read_recent(db, &[connection, ConnectionId(Uuid::from_u128(7))]).unwrap();
    });
    let read = (all.len(), count_temporary_tables(db, &all), scans(db, &all[0]));
    assert_eq!(read, (2, 0, Vec::new()));
}

#[tokio::test]
async fn a_search_for_events_reads_no_table_from_start_to_end() {
    let folder = tempdir().unwrap();
    let (store, _) = store_with_connection(&folder).await;
    store.close().await;
    let db = &open_file(&folder);
    let id = Uuid::from_u128(1);
    for search in [id.to_string(), format!("{id}/{id}"), "three words tracker".to_owned()] {
        let search = Some(EventSearch::new(&search));
        let filter = EventFilter { search, limit: 9, ..EventFilter::default() };
        let read = trace_statements(db, || {
            events::list(db, &filter).unwrap();
        });
        assert!(!read.is_empty());
        let scans = read.iter().flat_map(|sql| scans(db, sql));
        let is_small = |step: &str| {
            ["SCAN connections", "SCAN json_each"].iter().any(|it| step.starts_with(it))
        };
        let large = scans.filter(|step| !is_small(step));
        assert_eq!(large.collect::<Vec<_>>(), Vec::<String>::new());
    }
}
