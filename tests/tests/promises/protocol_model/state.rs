//! The state of the model: the row of one failed test, two workers, the tracker, and how many
//! clicks and faults may still happen.
//!
//! Time is counted in units. The longest time of a run, the index delay and `in_doubt_s` are one
//! unit each. An action that takes at most one unit has ended before a second unit has passed.

/// `Row::units_waited` is counted up to this number, because no rule depends on whether a wait is
/// longer.
pub(super) const WAIT_MAX: i8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum RowState {
    Absent,
    Intent,
    Sent,
    InDoubt,
    Failed,
    Created,
}

/// What the answer to a write proves about the record. The order is from "not created" to
/// "created".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Class {
    Refused,
    /// The answer proves nothing, but the tracker will not create the record later.
    Unclear,
    /// The answer proves nothing, and the tracker may still create the record later.
    Open,
    /// The tracker answered that it created the record.
    Acknowledged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Decision {
    Retry,
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) state: RowState,
    pub(super) fence: u8,
    pub(super) is_leased: bool,
    /// Whether a run has marked a write as sent.
    pub(super) has_written: bool,
    /// The greatest class of the row's writes so far; a lost run counts as `Open`. A create after
    /// the decision `GiveUp` resets it to `Refused`.
    pub(super) class: Option<Class>,
    /// Whether the tracker answered a write with 403.
    pub(super) was_forbidden: bool,
    /// Whether the first write of each run contained the marker.
    pub(super) has_marker: bool,
    /// The settings of the run that last marked a write.
    pub(super) last_write_settings: u8,
    /// Units since the index delay and `in_doubt_s` began, by the database's clock. Negative while
    /// a lost run may not have ended yet.
    pub(super) units_waited: i8,
    /// Units since `sent` was committed, by the database's clock.
    pub(super) units_since_sent: i8,
    /// Whether a search has ended the doubt, or the last run sent no write.
    pub(super) has_doubt_ended: bool,
    /// The last decision of a person that no create has used yet.
    pub(super) decision: Option<Decision>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) fence: u8,
    /// The greatest class of the run's writes so far.
    pub(super) class: Option<Class>,
    pub(super) last_class: Option<Class>,
    pub(super) was_forbidden: bool,
    /// How many writes the run has marked; 2 if it may mark no more.
    pub(super) writes: u8,
    /// Whether the run's last write contains the marker.
    pub(super) has_marker: bool,
    /// The settings of the connection when the run began.
    pub(super) settings: u8,
}

/// A click, or a background sweep of the server, that works on the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Worker {
    Idle,
    /// The click has sent a write. The worker may claim the row again, only to search.
    SearchAgain,
    /// The worker searches under this fence. `has_written`: whether its click has sent a write.
    Searching {
        fence: u8,
        has_written: bool,
    },
    /// The guest runs, and no write is in progress.
    Running(Run),
    /// The state `sent` is committed. `is_lease_live`: whether the lease that the commit checked
    /// has not ended.
    Marked {
        run: Run,
        is_lease_live: bool,
    },
    /// `age`: the units of time since the write was sent.
    AwaitingAnswer {
        run: Run,
        age: u8,
    },
}

/// A record in the tracker, or a record that the tracker may still create later (in `delayed`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Record {
    /// The settings of the run that sent the write.
    pub(super) settings: u8,
    pub(super) has_marker: bool,
    /// Whether no search finds the record any more.
    pub(super) is_hidden: bool,
    /// For a record in the tracker: whether a search may still miss the record. For a record in
    /// `delayed`: whether one unit of time has passed since the exchange of its write ended.
    pub(super) time_flag: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) row: Row,
    pub(super) workers: [Worker; 2],
    /// The records of the failed test in the tracker.
    pub(super) records: Vec<Record>,
    /// The records that the tracker may still create.
    pub(super) delayed: Vec<Record>,
    /// Whether there is another defect to test a search with.
    pub(super) has_other_defect: bool,
    /// Whether the user of the search may not read.
    pub(super) is_read_denied: bool,
    pub(super) settings: u8,
    /// Whether the clock has stepped, and no worker has noticed the step yet.
    pub(super) has_clock_stepped: bool,
    /// Whether a click that had sent a write has begun a second create.
    pub(super) has_written_twice: bool,
    pub(super) clicks: u8,
    /// How many faults may still happen, including edits and decisions of persons.
    pub(super) faults: u8,
}

impl State {
    pub(super) fn initial(has_other_defect: bool, clicks: u8, faults: u8) -> Self {
        Self {
            row: Row {
                state: RowState::Absent,
                fence: 0,
                is_leased: false,
                has_written: false,
                class: None,
                was_forbidden: false,
                has_marker: true,
                last_write_settings: 0,
                units_waited: 0,
                units_since_sent: 0,
                has_doubt_ended: false,
                decision: None,
            },
            workers: [Worker::Idle; 2],
            records: Vec::new(),
            delayed: Vec::new(),
            has_other_defect,
            is_read_denied: false,
            settings: 0,
            has_clock_stepped: false,
            has_written_twice: false,
            clicks,
            faults,
        }
    }

    /// Replaces each fence by 1 if it equals the row's fence, and by 0 if not. This loses nothing,
    /// because the model only compares a fence with the row's fence. Without the replacement, there
    /// would be infinitely many states. Also sorts the records, because their order has no effect.
    pub(super) fn normalise(&mut self) {
        let current = std::mem::replace(&mut self.row.fence, 1);
        for worker in &mut self.workers {
            if let Worker::Searching { fence, .. }
            | Worker::Running(Run { fence, .. })
            | Worker::Marked { run: Run { fence, .. }, .. }
            | Worker::AwaitingAnswer { run: Run { fence, .. }, .. } = worker
            {
                *fence = u8::from(*fence == current);
            }
        }
        self.records.sort_unstable();
        self.delayed.sort_unstable();
    }

    pub(super) fn is_in_progress(&self) -> bool {
        self.workers.iter().any(|it| !matches!(it, Worker::Idle | Worker::SearchAgain))
    }

    /// Returns two bools: whether a search with these settings may find a record of the failed
    /// test, and whether the search may miss all records.
    pub(super) fn possible_search_results(&self, settings: u8) -> (bool, bool) {
        let mut may_find = false;
        let mut must_find = false;
        for record in &self.records {
            if !self.is_read_denied
                && record.has_marker
                && !record.is_hidden
                && record.settings == settings
            {
                may_find = true;
                must_find |= !record.time_flag;
            }
        }
        (may_find, !must_find)
    }

    /// Time may not pass if an action that takes at most one unit would then take longer.
    pub(super) fn may_time_pass(&self) -> bool {
        let is_late = |worker: &Worker| matches!(worker, Worker::AwaitingAnswer { age: 1.., .. });
        !self.workers.iter().any(is_late) && !self.delayed.iter().any(|record| record.time_flag)
    }
}
