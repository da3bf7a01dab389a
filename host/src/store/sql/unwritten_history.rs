//! The part of the history that is not written yet: events with their runs, and counts.
//!
//! The queued records of an event are merged, so that each batch writes an event only once. Runs
//! and steps that are recorded before their event wait for the event, because they are stored in
//! the row of the event.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::time::{Duration, Instant};

use crate::domain::{ConnectionId, Event, EventId, RunReport, TimedSteps};
use crate::store::CachedCounts;

/// Maximum number of queued records that do not wait for their event.
const RECORDS_MAX: usize = 4_096;
/// Maximum number of events whose runs and steps wait for the event.
const WAITING_EVENTS_MAX: usize = 512;
/// How long runs and steps wait for their event after the last of them was added.
const EVENT_WAIT: Duration = Duration::from_secs(3_600);
/// Minimum number of recorded events whose ids are remembered.
const RECENT_EVENTS_MIN: usize = 4 * RECORDS_MAX;
/// Maximum size of the queued recordings, bytes. Further recordings lose their exchanges.
const QUEUED_RECORDINGS_BYTES_MAX: usize = 64 << 20;

pub(in crate::store) enum HistoryRecord {
    /// Steps and runs of an event, and the event itself if it is recorded with them.
    Event { id: EventId, event: Option<Event>, steps: TimedSteps, runs: Vec<RunReport> },
    /// The event will not be recorded, so its runs and steps are dropped.
    DiscardEvent(EventId),
    /// The counts of a project.
    Counts { connection: ConnectionId, project: String, counts: CachedCounts },
}

impl HistoryRecord {
    /// Returns the size of the recordings in this record, bytes.
    fn recordings_bytes(&self) -> usize {
        let Self::Event { runs, .. } = self else { return 0 };
        runs.iter().filter_map(|run| run.recording.as_ref()).map(|it| it.bytes()).sum()
    }

    /// Merges a later record of the same event into this one.
    fn merge(&mut self, later: Self) {
        if let (
            Self::Event { event, steps, runs, .. },
            Self::Event { event: later_event, steps: later_steps, runs: later_runs, .. },
        ) = (self, later)
        {
            *event = later_event.or(event.take());
            later_steps.iter().for_each(|step| steps.add(step));
            runs.extend(later_runs);
        }
    }
}

#[derive(Default)]
pub(super) struct UnwrittenHistory {
    /// The records that can be written.
    records: Vec<HistoryRecord>,
    /// The position of each event in `records`.
    positions: HashMap<EventId, usize>,
    /// Runs and steps that wait for their event, and when the last of them was added.
    waiting: HashMap<EventId, (Instant, HistoryRecord)>,
    /// The events whose runs and steps need not wait, because the event was recorded.
    recent_event_ids: RecentEventIds,
    /// At least the size of the recordings in `records` and `waiting`, bytes.
    recordings_bytes: usize,
    /// When the first record in `records` was added; `None` if there are none.
    first_added_at: Option<Instant>,
}

/// The ids of the events that were recorded last: at least [`RECENT_EVENTS_MIN`] ids if there were
/// so many events, and at most twice as many.
#[derive(Default)]
struct RecentEventIds {
    /// The ids that were added last. When this set is full, it replaces `older`.
    newer: HashSet<EventId>,
    older: HashSet<EventId>,
}

impl RecentEventIds {
    fn add(&mut self, id: EventId) {
        if self.newer.len() >= RECENT_EVENTS_MIN {
            self.older = mem::take(&mut self.newer);
        }
        self.newer.insert(id);
    }

    fn contains(&self, id: &EventId) -> bool {
        self.newer.contains(id) || self.older.contains(id)
    }
}

impl UnwrittenHistory {
    /// Adds a record, or merges it into the queued record of the same event. Returns false if there
    /// is no room.
    pub(super) fn add(&mut self, mut record: HistoryRecord, now: Instant) -> bool {
        self.limit_recordings(&mut record);
        let (id, is_event) = match &record {
            HistoryRecord::DiscardEvent(id) => {
                self.waiting.remove(id);
                return true;
            }
            HistoryRecord::Event { id, event, .. } => (Some(*id), event.is_some()),
            _ => (None, false),
        };
        let position = id.and_then(|id| self.positions.get(&id));
        if let Some(queued) = position.and_then(|position| self.records.get_mut(*position)) {
            queued.merge(record);
            return true;
        }
        if let Some(id) = id.filter(|id| !is_event && !self.recent_event_ids.contains(id)) {
            return self.add_waiting(id, record, now);
        }
        if self.records.len() >= RECORDS_MAX {
            return false;
        }
        if let Some(id) = id {
            self.positions.insert(id, self.records.len());
            self.recent_event_ids.add(id);
            if let Some((_, mut waiting)) = self.waiting.remove(&id) {
                waiting.merge(record);
                record = waiting;
            }
        }
        self.records.push(record);
        self.first_added_at.get_or_insert(now);
        true
    }

    /// Adds runs and steps that wait for their event. Returns false if there is no room.
    fn add_waiting(&mut self, id: EventId, record: HistoryRecord, now: Instant) -> bool {
        if let Some((added_at, waiting)) = self.waiting.get_mut(&id) {
            *added_at = now;
            waiting.merge(record);
            return true;
        }
        let fits = self.waiting.len() < WAITING_EVENTS_MAX;
        if fits {
            self.waiting.insert(id, (now, record));
        }
        fits
    }

    /// Removes the exchanges of the recordings for which the queue has no room.
    fn limit_recordings(&mut self, record: &mut HistoryRecord) {
        let HistoryRecord::Event { runs, .. } = record else { return };
        for recording in runs.iter_mut().filter_map(|run| run.recording.as_mut()) {
            if self.recordings_bytes + recording.bytes() > QUEUED_RECORDINGS_BYTES_MAX {
                recording.exchanges.clear();
                recording.missing =
                    Some("the store was too busy to store the recording".to_owned());
            }
            self.recordings_bytes += recording.bytes();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns when to write the records; `None` if there are no records. The records wait for the
    /// time `wait`. They do not wait if there are at least `records_max` records, or if `is_urgent`
    /// is true.
    pub(super) fn write_due_at(
        &self,
        wait: Duration,
        records_max: usize,
        is_urgent: bool,
    ) -> Option<Instant> {
        let added_at = self.first_added_at?;
        if is_urgent || self.records.len() >= records_max {
            Some(added_at)
        } else {
            added_at.checked_add(wait)
        }
    }

    /// Removes and returns the records that can be written. Runs and steps that wait for their
    /// event stay. After [`EVENT_WAIT`] they are returned too: their event may be stored, although
    /// `recent_event_ids` does not contain it any more.
    pub(super) fn take_records(&mut self, now: Instant) -> Vec<HistoryRecord> {
        self.positions.clear();
        self.first_added_at = None;
        let is_late = |added_at: Instant| now.saturating_duration_since(added_at) >= EVENT_WAIT;
        let late = self.waiting.extract_if(|_, (added_at, _)| is_late(*added_at));
        self.records.extend(late.map(|(_, (_, record))| record));
        let waiting = self.waiting.values();
        self.recordings_bytes = waiting.map(|(_, record)| record.recordings_bytes()).sum();
        mem::take(&mut self.records)
    }

    /// Moves the runs and steps that wait for their event to the records that can be written. Drops
    /// the runs and steps for which there is no room.
    pub(super) fn end_waits(&mut self, now: Instant) {
        let waiting = mem::take(&mut self.waiting);
        for (_, (_, record)) in waiting.into_iter().take(RECORDS_MAX - self.records.len()) {
            self.records.push(record);
            self.first_added_at.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::super::queue::{UNWRITTEN_PAUSE, WriteQueue};
    use super::*;
    use crate::domain::{Call, EventKind, OutcomeCode, ReceivedRequest, Usage};

    fn event_record(ms: u64) -> HistoryRecord {
        numbered_event_record(1, ms)
    }

    fn numbered_event_record(number: u128, ms: u64) -> HistoryRecord {
        let id = EventId(Uuid::from_u128(number));
        let event = Event {
            id,
            connection: None,
            kind: EventKind::Probe,
            received_at: Timestamp::UNIX_EPOCH,
            ms,
            status: None,
            outcome: OutcomeCode::Alive.into(),
            request: ReceivedRequest::default(),
            defect: None,
        };
        let (steps, runs) = (TimedSteps::default(), Vec::new());
        HistoryRecord::Event { id, event: Some(event), steps, runs }
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

    fn run_record(number: u128) -> HistoryRecord {
        let id = EventId(Uuid::from_u128(number));
        let steps = TimedSteps::default();
        HistoryRecord::Event { id, event: None, steps, runs: vec![run()] }
    }

    /// Returns whether a record contains its event, and how many runs it contains.
    fn contents(record: &HistoryRecord) -> (bool, usize) {
        let HistoryRecord::Event { event, runs, .. } = record else { panic!("not an event") };
        (event.is_some(), runs.len())
    }

    fn event_durations(records: &[HistoryRecord]) -> Vec<u64> {
        let duration = |record: &HistoryRecord| match record {
            HistoryRecord::Event { event: Some(event), .. } => event.ms,
            _ => panic!("not an event"),
        };
        records.iter().map(duration).collect()
    }

    #[test]
    fn runs_wait_for_their_event_and_are_written_with_it() {
        let (mut history, start) = (UnwrittenHistory::default(), Instant::now());
        for _ in 0..2 {
            assert!(history.add(run_record(1), start));
        }
        assert_eq!(history.write_due_at(Duration::ZERO, 1, true), None);
        assert_eq!(history.take_records(start).len(), 0, "the event is not recorded yet");
        assert!(history.add(event_record(7), start));
        assert_eq!(
            history.take_records(start).iter().map(contents).collect::<Vec<_>>(),
            [(true, 2)]
        );
        // The event was recorded, so a run does not wait.
        assert!(history.add(run_record(1), start));
        assert_eq!(
            history.take_records(start).iter().map(contents).collect::<Vec<_>>(),
            [(false, 1)]
        );
    }

    #[test]
    fn runs_without_their_event_wait_for_a_limited_time() {
        let (mut history, start) = (UnwrittenHistory::default(), Instant::now());
        assert!(history.add(run_record(1), start) && history.add(run_record(2), start));
        assert!(history.add(HistoryRecord::DiscardEvent(EventId(Uuid::from_u128(2))), start));
        assert_eq!(history.take_records(start + EVENT_WAIT / 2).len(), 0);
        assert_eq!(history.take_records(start + EVENT_WAIT).len(), 1);
        for number in 0..=WAITING_EVENTS_MAX as u128 {
            assert_eq!(history.add(run_record(number), start), number < WAITING_EVENTS_MAX as u128);
        }
        history.end_waits(start);
        assert_eq!(history.write_due_at(Duration::ZERO, 1, true), Some(start));
        assert_eq!(history.take_records(start).len(), WAITING_EVENTS_MAX);
    }

    #[test]
    fn the_ids_of_the_last_recorded_events_are_remembered() {
        let mut recent = RecentEventIds::default();
        let id = |number: usize| EventId(Uuid::from_u128(number as u128));
        (0..5 * RECENT_EVENTS_MIN).for_each(|number| recent.add(id(number)));
        assert!(
            (4 * RECENT_EVENTS_MIN..5 * RECENT_EVENTS_MIN)
                .all(|number| recent.contains(&id(number)))
        );
        assert!(recent.newer.len() + recent.older.len() <= 2 * RECENT_EVENTS_MIN);
    }

    #[test]
    fn an_event_for_which_there_is_no_room_is_not_remembered() {
        let (mut history, start) = (UnwrittenHistory::default(), Instant::now());
        for number in 0..RECORDS_MAX as u128 {
            assert!(history.add(numbered_event_record(number, 0), start));
        }
        let refused = RECORDS_MAX as u128;
        assert!(
            history.add(run_record(refused), start)
                && !history.add(numbered_event_record(refused, 0), start)
        );
        history.take_records(start);
        assert!(history.add(numbered_event_record(refused, 0), start));
        assert_eq!(
            history.take_records(start).iter().map(contents).collect::<Vec<_>>(),
            [(true, 1)]
        );
    }

    #[test]
    fn an_event_that_ends_while_it_is_queued_is_written_once() {
        let mut history = UnwrittenHistory::default();
        let (start, wait) = (Instant::now(), Duration::from_millis(20));
        assert!(history.add(event_record(0), start));
        assert!(history.add(event_record(7), start + Duration::from_millis(9)));
        assert_eq!(history.write_due_at(wait, 512, false), Some(start + wait));
        assert_eq!(history.write_due_at(wait, 512, true), Some(start));
        let records = history.take_records(start);
        assert_eq!(event_durations(&records), [7]);
        assert!(history.is_empty() && history.write_due_at(wait, 1, true).is_none());
    }

    #[test]
    fn records_that_could_not_be_written_are_queued_before_later_records() {
        let queue = WriteQueue::default();
        queue.record(event_record(0));
        let unwritten = queue.wait_for_batch(|| {}).unwrap().history;
        queue.record(event_record(7));
        queue.end_batch(false, unwritten);
        let later = queue.wait_for_batch(|| {}).unwrap().history;
        assert_eq!(event_durations(&later), [7]);
    }

    #[test]
    fn the_pause_after_a_failed_write_grows_with_each_failure() {
        let queue = WriteQueue::default();
        let unwritten = || (0..512).map(|number| numbered_event_record(number, 0)).collect();
        let time_until_batch = |queue: &WriteQueue| {
            let start = Instant::now();
            assert_eq!(queue.wait_for_batch(|| {}).unwrap().history.len(), 512);
            start.elapsed()
        };
        for times in [1, 2, 4] {
            queue.end_batch(false, unwritten());
            assert!(time_until_batch(&queue) >= UNWRITTEN_PAUSE * times * 9 / 10);
        }
        queue.end_batch(false, unwritten());
        queue.end_batch(true, Vec::new());
        assert!(
            time_until_batch(&queue) < UNWRITTEN_PAUSE * 8,
            "the pause was not reset after a successful batch"
        );
        (0..8).for_each(|_| queue.end_batch(false, vec![event_record(0)]));
        queue.close();
        let start = Instant::now();
        assert_eq!(queue.wait_for_batch(|| {}).unwrap().history.len(), 1);
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "the pause delayed the end of the server"
        );
    }
}
