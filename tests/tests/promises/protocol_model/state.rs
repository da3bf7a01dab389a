//! The state of the model: the row, two runners, the tracker, and what may still go wrong.
//!
//! Time is counted in units. The run maximum, the index delay and `in_doubt_s` are one unit each.
//! An action that may take up to one unit has ended at the latest when a second unit begins.

/// The longest wait that the model tells apart, in units. A longer wait allows nothing more.
pub(super) const WAIT_MAX: i8 = 2;

/// The state of the row, as in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum RowState {
    Absent,
    Intent,
    Sent,
    InDoubt,
    Failed,
    Created,
}

/// What the answer to a write proves, ordered by how much may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Class {
    /// The tracker refused the write.
    Refused,
    /// The answer proves nothing, but the write has no later effect.
    Unclear,
    /// The write may still have its effect later.
    Open,
    /// The tracker answered that it created the record.
    Acknowledged,
}

/// The decision of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Decided {
    Retry,
    GiveUp,
}

/// The row of the failed test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) state: RowState,
    pub(super) fence: u8,
    pub(super) leased: bool,
    /// Whether a write left in an earlier run or in this one.
    pub(super) wrote: bool,
    /// The worst class of all writes.
    pub(super) class: Option<Class>,
    /// Whether the tracker answered a write with 403.
    pub(super) forbidden: bool,
    /// Whether the first write of each run contained the marker.
    pub(super) marked: bool,
    /// The settings that the last run saw.
    pub(super) seen: u8,
    /// Units since the waits began, by the database's clock.
    pub(super) waited: i8,
    /// Units since `sent` was committed, by the database's clock.
    pub(super) sent_age: i8,
    /// Whether a search ended the doubt, or the last run sent no write.
    pub(super) doubt_ended: bool,
    /// What a person decided.
    pub(super) decided: Option<Decided>,
}

/// A run, and the results of its writes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) fence: u8,
    /// The class of the worst write; `last` is the class of the last write.
    pub(super) class: Option<Class>,
    pub(super) last: Option<Class>,
    pub(super) forbidden: bool,
    pub(super) writes: u8,
    pub(super) marked: bool,
    pub(super) settings: u8,
}

/// What a runner does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Runner {
    Idle,
    /// The click of this runner has written. The runner claims the row again, only to search. (The
    /// sweep does the same.)
    Again,
    /// Searches under this fence. `has_written`: the click of this runner has written.
    Searching {
        fence: u8,
        has_written: bool,
    },
    /// The guest runs, and no write is in progress.
    Running(Run),
    /// `sent` is committed. `live`: whether the lease that the commit checked is still live.
    Marked {
        run: Run,
        live: bool,
    },
    /// The write has left. `age`: the units since then.
    Waiting {
        run: Run,
        age: u8,
    },
}

/// A record in the tracker, or a record that the tracker may still create (an effect).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Record {
    pub(super) settings: u8,
    pub(super) marked: bool,
    /// The tracker never shows it.
    pub(super) hidden: bool,
    /// For a record: whether a search may still miss it. For an effect: whether one unit of time
    /// has passed.
    pub(super) flag: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) row: Row,
    pub(super) runners: [Runner; 2],
    pub(super) records: Vec<Record>,
    /// Writes that have no answer and on which the tracker may still act.
    pub(super) delayed: Vec<Record>,
    /// Whether there is another defect to test a search with.
    pub(super) control: bool,
    /// Whether the tracker hides all records from the search.
    pub(super) blind: bool,
    /// The current settings.
    pub(super) settings: u8,
    /// The clock stepped, and no runner has checked this since.
    pub(super) stepped: bool,
    /// A click sent writes in two runs.
    pub(super) wrote_twice: bool,
    pub(super) clicks: u8,
    /// How many crashes, lost leases, clock steps, edits, decisions and other troubles may still
    /// happen.
    pub(super) troubles: u8,
}

impl State {
    pub(super) fn first(control: bool, clicks: u8, troubles: u8) -> Self {
        Self {
            row: Row {
                state: RowState::Absent,
                fence: 0,
                leased: false,
                wrote: false,
                class: None,
                forbidden: false,
                marked: true,
                seen: 0,
                waited: 0,
                sent_age: 0,
                doubt_ended: false,
                decided: None,
            },
            runners: [Runner::Idle; 2],
            records: Vec::new(),
            delayed: Vec::new(),
            control,
            blind: false,
            settings: 0,
            stepped: false,
            wrote_twice: false,
            clicks,
            troubles,
        }
    }

    /// Replaces each fence by whether it equals the row's fence, because nothing else matters.
    /// Otherwise there would be endlessly many states.
    pub(super) fn normalise_fences(&mut self) {
        let current = std::mem::replace(&mut self.row.fence, 1);
        for runner in &mut self.runners {
            if let Runner::Searching { fence, .. }
            | Runner::Running(Run { fence, .. })
            | Runner::Marked { run: Run { fence, .. }, .. }
            | Runner::Waiting { run: Run { fence, .. }, .. } = runner
            {
                *fence = u8::from(*fence == current);
            }
        }
        self.records.sort_unstable();
        self.delayed.sort_unstable();
    }

    /// Whether some runner works on the row.
    pub(super) fn is_open(&self) -> bool {
        self.runners.iter().any(|it| !matches!(it, Runner::Idle | Runner::Again))
    }

    /// Whether a search with these settings may see, and may miss, a record of the failed test.
    pub(super) fn search(&self, settings: u8) -> (bool, bool) {
        let mut may_see = false;
        let mut sees = false;
        for record in &self.records {
            if !self.blind && record.marked && !record.hidden && record.settings == settings {
                may_see = true;
                sees |= !record.flag;
            }
        }
        (may_see, !sees)
    }

    /// Whether time may pass. It may not if an action that takes at most one unit would take
    /// longer.
    pub(super) fn may_tick(&self) -> bool {
        let late = |runner: &Runner| matches!(runner, Runner::Waiting { age: 1.., .. });
        !self.runners.iter().any(late) && !self.delayed.iter().any(|effect| effect.flag)
    }
}
