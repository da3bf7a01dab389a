//! The queued part of the history: events, their runs, counts.
//!
//! An event that ends while it waits replaces its own beginning, and takes its runs: nothing is
//! written twice. Runs and steps that are recorded before their event wait for it, because they are
//! added to its row. Never holds more than [`RECORDS_MAX`] parts, and [`EARLY_MAX`] that wait.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::time::{Duration, Instant};

use crate::domain::{ConnectionId, Event, EventId, RunReport, TimedSteps};
use crate::store::CachedCounts;

const RECORDS_MAX: usize = 4_096;
/// Maximum number of events whose runs and steps wait for them.
const EARLY_MAX: usize = 512;
/// How long runs and steps wait for their event: longer than the runs of one event may take.
const EVENT_WAIT: Duration = Duration::from_secs(3_600);
/// How many recorded events are known at least.
const KNOWN_MIN: usize = 4 * RECORDS_MAX;
/// Maximum size of all recordings in the queue, bytes. A recording that does not fit is dropped.
const RECORDED_BYTES_MAX: usize = 64 << 20;

/// A queued part of the history.
pub(in crate::store) enum Record {
    /// An event, or only its later changes, with steps and runs.
    Event(EventId, Option<Event>, TimedSteps, Vec<RunReport>),
    /// The event will not be recorded: its runs and steps are dropped.
    NoEvent(EventId),
    /// The counts of a project.
    Counts { connection: ConnectionId, project: String, counts: CachedCounts },
}

impl Record {
    /// Size of its recordings, bytes.
    fn recorded_bytes(&self) -> usize {
        let Self::Event(_, _, _, runs) = self else { return 0 };
        runs.iter().filter_map(|run| run.recording.as_ref()).map(|it| it.bytes()).sum()
    }

    /// Merges a later record of the same event.
    fn update(&mut self, later: Self) {
        if let (
            Self::Event(_, event, steps, runs),
            Self::Event(_, newer, later_steps, later_runs),
        ) = (self, later)
        {
            *event = newer.or(event.take());
            later_steps.iter().for_each(|step| steps.add(step));
            runs.extend(later_runs);
        }
    }
}

/// The queue of events, runs and counts.
#[derive(Default)]
pub(super) struct History {
    records: Vec<Record>,
    /// The position of each event in `records`.
    events: HashMap<EventId, usize>,
    /// Runs and steps whose event is not recorded yet, and when the last of them was added.
    early: HashMap<EventId, (Instant, Record)>,
    known: KnownEvents,
    /// Size of the recordings in `records` and `early`, bytes.
    recorded_bytes: usize,
    /// The time when the first record was added.
    since: Option<Instant>,
}

/// The events that were recorded last: between one and two times [`KNOWN_MIN`].
#[derive(Default)]
struct KnownEvents {
    newer: HashSet<EventId>,
    older: HashSet<EventId>,
}

impl KnownEvents {
    fn add(&mut self, id: EventId) {
        if self.newer.len() >= KNOWN_MIN {
            self.older = mem::take(&mut self.newer);
        }
        self.newer.insert(id);
    }

    fn contains(&self, id: &EventId) -> bool {
        self.newer.contains(id) || self.older.contains(id)
    }
}

impl History {
    /// Adds a record, or replaces the earlier state of its event; false if there is no room.
    pub(super) fn add(&mut self, mut record: Record, now: Instant) -> bool {
        self.limit_recordings(&mut record);
        let (id, is_event) = match &record {
            Record::NoEvent(id) => {
                self.early.remove(id);
                return true;
            }
            Record::Event(id, event, ..) => (Some(*id), event.is_some()),
            _ => (None, false),
        };
        let place = id.and_then(|id| self.events.get(&id));
        if let Some(place) = place.and_then(|place| self.records.get_mut(*place)) {
            place.update(record);
            return true;
        }
        if let Some(id) = id.filter(|id| !is_event && !self.known.contains(id)) {
            return self.add_early(id, record, now);
        }
        if self.records.len() >= RECORDS_MAX {
            return false;
        }
        if let Some(id) = id {
            self.events.insert(id, self.records.len());
            self.known.add(id);
            if let Some((_, mut early)) = self.early.remove(&id) {
                early.update(record);
                record = early;
            }
        }
        self.records.push(record);
        self.since.get_or_insert(now);
        true
    }

    fn add_early(&mut self, id: EventId, record: Record, now: Instant) -> bool {
        if let Some((added, early)) = self.early.get_mut(&id) {
            *added = now;
            early.update(record);
            return true;
        }
        let fits = self.early.len() < EARLY_MAX;
        if fits {
            self.early.insert(id, (now, record));
        }
        fits
    }

    /// Drops the recordings of a record for which the queue has no room.
    fn limit_recordings(&mut self, record: &mut Record) {
        let Record::Event(_, _, _, runs) = record else { return };
        for recording in runs.iter_mut().filter_map(|run| run.recording.as_mut()) {
            if self.recorded_bytes + recording.bytes() > RECORDED_BYTES_MAX {
                recording.exchanges.clear();
                recording.missing = Some("the store was too busy to keep the recording".to_owned());
            }
            self.recorded_bytes += recording.bytes();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns when to write the records; `None` if there are none. Does not wait if there are
    /// `enough` records, or if `now` is true.
    pub(super) fn due(&self, wait: Duration, enough: usize, now: bool) -> Option<Instant> {
        let since = self.since?;
        if now || self.records.len() >= enough { Some(since) } else { since.checked_add(wait) }
    }

    /// Takes the records. Those that wait for their event stay, but not forever: `known` may have
    /// forgotten an event that has a row.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Record> {
        self.events.clear();
        self.since = None;
        let is_late = |added: Instant| now.saturating_duration_since(added) >= EVENT_WAIT;
        let late = self.early.extract_if(|_, (added, _)| is_late(*added));
        self.records.extend(late.map(|(_, (_, record))| record));
        self.recorded_bytes = self.early.values().map(|(_, record)| record.recorded_bytes()).sum();
        mem::take(&mut self.records)
    }

    /// Lets nothing wait for an event any more: the store closes.
    pub(super) fn end_waits(&mut self, now: Instant) {
        let early = mem::take(&mut self.early);
        for (_, (_, record)) in early.into_iter().take(RECORDS_MAX - self.records.len()) {
            self.records.push(record);
            self.since.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::super::queue::{Queue, UNWRITTEN_PAUSE};
    use super::*;
    use crate::domain::{Call, EventKind, OutcomeCode, Received, Usage};

    fn event(ms: u64) -> Record {
        numbered(1, ms)
    }

    fn numbered(number: u128, ms: u64) -> Record {
        let id = EventId(Uuid::from_u128(number));
        let event = Event {
            id,
            connection: None,
            kind: EventKind::Probe,
            received_at: Timestamp::UNIX_EPOCH,
            ms,
            status: None,
            outcome: OutcomeCode::Alive.into(),
            request: Received::default(),
            defect: None,
        };
        Record::Event(id, Some(event), TimedSteps::default(), Vec::new())
    }

    fn run() -> RunReport {
        RunReport {
            call: Call::Find,
            outcome: OutcomeCode::Ok,
            detail: String::new(),
            setting: None,
            connector_version: String::new(),
            connector_sha256: String::new(),
            log: Vec::new(),
            calls: Vec::new(),
            usage: Usage::default(),
            times: None,
            recording: None,
        }
    }

    fn parts(number: u128) -> Record {
        let id = EventId(Uuid::from_u128(number));
        Record::Event(id, None, TimedSteps::default(), vec![run()])
    }

    fn runs(record: &Record) -> (bool, usize) {
        let Record::Event(_, event, _, runs) = record else { panic!("not an event") };
        (event.is_some(), runs.len())
    }

    #[test]
    fn runs_wait_for_their_event_and_are_written_with_it() {
        let (mut history, start) = (History::default(), Instant::now());
        for _ in 0..2 {
            assert!(history.add(parts(1), start));
        }
        assert_eq!(history.due(Duration::ZERO, 1, true), None);
        assert_eq!(history.take(start).len(), 0, "its event has no row");
        assert!(history.add(event(7), start));
        assert_eq!(history.take(start).iter().map(runs).collect::<Vec<_>>(), [(true, 2)]);
        // From now on, the row exists.
        assert!(history.add(parts(1), start));
        assert_eq!(history.take(start).iter().map(runs).collect::<Vec<_>>(), [(false, 1)]);
    }

    #[test]
    fn runs_wait_in_vain_for_an_event_that_does_not_come() {
        let (mut history, start) = (History::default(), Instant::now());
        assert!(history.add(parts(1), start) && history.add(parts(2), start));
        assert!(history.add(Record::NoEvent(EventId(Uuid::from_u128(2))), start));
        assert_eq!(history.take(start + EVENT_WAIT / 2).len(), 0);
        assert_eq!(history.take(start + EVENT_WAIT).len(), 1);
        for number in 0..=EARLY_MAX as u128 {
            assert_eq!(history.add(parts(number), start), number < EARLY_MAX as u128);
        }
        history.end_waits(start);
        assert_eq!(history.due(Duration::ZERO, 1, true), Some(start));
        assert_eq!(history.take(start).len(), EARLY_MAX);
    }

    #[test]
    fn the_last_recorded_events_are_known() {
        let mut known = KnownEvents::default();
        let id = |number: usize| EventId(Uuid::from_u128(number as u128));
        (0..5 * KNOWN_MIN).for_each(|number| known.add(id(number)));
        assert!((4 * KNOWN_MIN..5 * KNOWN_MIN).all(|number| known.contains(&id(number))));
        assert!(known.newer.len() + known.older.len() <= 2 * KNOWN_MIN);
    }

    #[test]
    fn an_event_without_room_is_not_known() {
        let (mut history, start) = (History::default(), Instant::now());
        for number in 0..RECORDS_MAX as u128 {
            assert!(history.add(numbered(number, 0), start));
        }
        let refused = RECORDS_MAX as u128;
        assert!(history.add(parts(refused), start) && !history.add(numbered(refused, 0), start));
        history.take(start);
        assert!(history.add(numbered(refused, 0), start));
        assert_eq!(history.take(start).iter().map(runs).collect::<Vec<_>>(), [(true, 1)]);
    }

    #[test]
    fn an_event_that_ends_while_it_waits_is_written_once() {
        let mut history = History::default();
        let (start, wait) = (Instant::now(), Duration::from_millis(20));
        assert!(history.add(event(0), start));
        assert!(history.add(event(7), start + Duration::from_millis(9)));
        assert_eq!(history.due(wait, 512, false), Some(start + wait));
        assert_eq!(history.due(wait, 512, true), Some(start));
        assert!(
            matches!(&history.take(start)[..], [Record::Event(_, Some(event), ..)] if event.ms == 7)
        );
        assert!(history.is_empty() && history.due(wait, 1, true).is_none());
    }

    #[test]
    fn a_history_that_could_not_be_written_is_written_before_what_followed() {
        let queue = Queue::default();
        queue.record(event(0));
        let unwritten = queue.next(|| {}).unwrap().history;
        queue.record(event(7));
        queue.end_batch(false, unwritten);
        let later = queue.next(|| {}).unwrap().history;
        assert!(matches!(&later[..], [Record::Event(_, Some(event), ..)] if event.ms == 7));
    }

    #[test]
    fn a_history_that_could_not_be_written_waits_for_longer_each_time() {
        let queue = Queue::default();
        let unwritten = || (0..512).map(|number| numbered(number, 0)).collect();
        let waited = |queue: &Queue| {
            let start = Instant::now();
            assert_eq!(queue.next(|| {}).unwrap().history.len(), 512);
            start.elapsed()
        };
        for times in [1, 2, 4] {
            queue.end_batch(false, unwritten());
            assert!(waited(&queue) >= UNWRITTEN_PAUSE * times * 9 / 10);
        }
        queue.end_batch(false, unwritten());
        queue.end_batch(true, Vec::new());
        assert!(waited(&queue) < UNWRITTEN_PAUSE * 8, "the database had taken a batch");
        (0..8).for_each(|_| queue.end_batch(false, vec![event(0)]));
        queue.close();
        let start = Instant::now();
        assert_eq!(queue.next(|| {}).unwrap().history.len(), 1);
        assert!(start.elapsed() < Duration::from_secs(4), "the end of the server waited");
    }
}
