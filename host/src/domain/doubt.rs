//! The rules that decide when a defect in doubt may be created after all. All rules are pure
//! functions.
//!
//! A second create is never allowed only because time has passed. It needs a search that found
//! nothing, unless the tracker refused every write or a person decided. A search that failed, was
//! stopped or did not run is not a search that found nothing.

use std::fmt;

use jiff::Timestamp;

use super::{DecidedDoubt, Refusal, WriteClass, after};

/// The known facts about the writes that were sent in one generation of a failed test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The class of the worst write, in the order of [`WriteClass`].
    pub class: WriteClass,
    /// Whether one of the writes was answered 403. The tracker may then hide a record that it
    /// created.
    pub forbidden: bool,
    /// Whether the first write of each run contained the marker.
    pub has_marker: bool,
    /// The start of the waits: the end of the last write. It is later if the clock stepped since,
    /// because a step restarts the waits.
    pub wait_from: Timestamp,
    /// A person's decision that ends the wait, if there is one.
    pub decided: Option<DecidedDoubt>,
    /// Whether a search that can be trusted, or a person, has ended the doubt since the last write.
    pub settled: bool,
}

/// How long to wait before a search that finds nothing can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// The index delay: how long the tracker's search may not see a new record, milliseconds.
    pub index_delay_ms: u64,
    /// The time during which the tracker may still carry out a request, milliseconds; `None`:
    /// without limit.
    pub in_doubt_ms: Option<u64>,
}

/// The next action of the host after a search, or if no search is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The next Create Defect request may create the defect.
    Create,
    /// Search again: only a search that begins at this instant or later can be trusted.
    SearchAt(Timestamp),
    /// A search has no result now. Report this, and search again later.
    TryLater,
    /// A person must resolve the doubt.
    NeedsPerson(Unresolvable),
}

/// The decision after a search that found nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterNone {
    /// This is the next action, whether the search works or not.
    Decided(Next),
    /// First check that the search works: it must find another defect that was created in the same
    /// way. [`Doubt::after_control`] then decides.
    CheckSearch,
}

/// The reason why only a person can resolve a doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolvable {
    /// The connector cannot search.
    NoSearch,
    /// The first write did not contain the marker, so a search cannot find its record.
    NoMarker,
    /// The tracker answered that it created something, but the search does not find it.
    Acknowledged,
    /// The operator set `create.in_doubt_s` to "never".
    Never,
    /// The tracker answered one of the writes with 403, and the connection has no other defect with
    /// which the search can be tested.
    Forbidden,
    /// The search finds none of these defects, which were created in the same way.
    ControlNotFound(Vec<String>),
    /// The search failed, and waiting does not help.
    SearchFailed(String),
}

impl Doubt {
    /// The decision for a defect that no search can find, because the connector cannot search or
    /// the write did not contain the marker.
    #[must_use]
    pub fn without_search(&self, why: Unresolvable) -> Next {
        if self.class == WriteClass::Refused || self.decided.is_some() || self.settled {
            return Next::Create;
        }
        Next::NeedsPerson(why)
    }

    /// Decides after a search found nothing. The search began at `began_at`. If this was too early
    /// to trust the search, the decision is a new search.
    #[must_use]
    pub fn after_none(&self, began_at: Timestamp, waits: Waits) -> AfterNone {
        let create = AfterNone::Decided(Next::Create);
        let needs_person = |why| AfterNone::Decided(Next::NeedsPerson(why));
        let indexed_at = after(self.wait_from, waits.index_delay_ms);
        let (trusted_from, decision) = match (self.class, waits.in_doubt_ms) {
            _ if self.decided.is_some() => (indexed_at, create),
            (WriteClass::Refused, _) => return create,
            _ if self.settled => (indexed_at, create),
            (_, None) => (indexed_at, needs_person(Unresolvable::Never)),
            (WriteClass::Unclear, Some(_)) => (indexed_at, AfterNone::CheckSearch),
            (WriteClass::Open, Some(ms)) => (after(indexed_at, ms), AfterNone::CheckSearch),
            (WriteClass::Acknowledged, Some(ms)) => {
                (after(indexed_at, ms), needs_person(Unresolvable::Acknowledged))
            }
        };
        if began_at >= trusted_from {
            decision
        } else {
            AfterNone::Decided(Next::SearchAt(trusted_from))
        }
    }

    /// Decides after a search that failed.
    #[must_use]
    pub fn after_failed_search(&self, refusal: &Refusal) -> Next {
        use Refusal as R;
        match refusal {
            R::TrackerUnavailable(_)
            | R::TrackerRateLimited { .. }
            | R::Overloaded
            | R::RunStopped
            | R::CircuitOpen { .. }
            | R::ConnectorUnavailable(_)
            | R::HostMemoryFull { .. }
            | R::ShuttingDown
            | R::Paused
            | R::StoreUnavailable(_) => Next::TryLater,
            _ if self.allows_create_without_search() => Next::Create,
            other => Next::NeedsPerson(Unresolvable::SearchFailed(other.to_string())),
        }
    }

    /// Whether the defect may be created even if the search fails permanently: the tracker refused
    /// every write, or a person decided to give up the search.
    fn allows_create_without_search(&self) -> bool {
        self.class == WriteClass::Refused || self.decided == Some(DecidedDoubt::GiveUp)
    }

    /// Decides after the search for the defect found nothing, and control searches did not find any
    /// of the defects `keys`. `keys` is empty if there is no other defect to search for.
    #[must_use]
    pub fn after_control(&self, keys: Vec<String>) -> Next {
        match (keys.is_empty(), self.forbidden) {
            (true, false) => Next::Create,
            (true, true) => Next::NeedsPerson(Unresolvable::Forbidden),
            (false, _) => Next::NeedsPerson(Unresolvable::ControlNotFound(keys)),
        }
    }
}

impl fmt::Display for Unresolvable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSearch => f.write_str("the connector cannot search the tracker"),
            Self::NoMarker => f.write_str(
                "the create request did not contain the marker, so a search cannot find its record",
            ),
            Self::Acknowledged => f.write_str(
                "the tracker answered that it created a record, but its search does not find it",
            ),
            Self::Never => {
                f.write_str("with `create.in_doubt_s` = \"never\", only a person can decide")
            }
            Self::Forbidden => f.write_str(
                "the tracker answered 403, and there is no other defect of this connection to check that \
                 its search finds created records",
            ),
            Self::ControlNotFound(keys) => write!(
                f,
                "the tracker's search does not find {} either, although this connection created it",
                keys.join(", ")
            ),
            Self::SearchFailed(why) => write!(f, "the search failed: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: Waits = Waits { index_delay_ms: 10, in_doubt_ms: Some(1_000) };

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn doubt(class: WriteClass) -> Doubt {
        Doubt {
            class,
            forbidden: false,
            has_marker: true,
            wait_from: at(0),
            decided: None,
            settled: false,
        }
    }

    /// The action after a search that began `ms` milliseconds after the wait and found nothing.
    fn next_after(doubt: &Doubt, ms: i64) -> Next {
        match doubt.after_none(at(ms), WAITS) {
            AfterNone::Decided(next) => next,
            AfterNone::CheckSearch => panic!("the search is checked"),
        }
    }

    #[test]
    fn a_search_that_finds_nothing_decides_after_the_wait_of_the_class() {
        use AfterNone::{CheckSearch, Decided};
        use WriteClass::{Acknowledged, Open, Refused, Unclear};
        let person = Next::NeedsPerson(Unresolvable::Acknowledged);
        for (class, ms, decision) in [
            (Refused, 0, Decided(Next::Create)),
            (Unclear, 9, Decided(Next::SearchAt(at(10)))),
            (Unclear, 10, CheckSearch),
            (Open, 10, Decided(Next::SearchAt(at(1_010)))),
            (Open, 1_009, Decided(Next::SearchAt(at(1_010)))),
            (Open, 1_010, CheckSearch),
            (Acknowledged, 1_009, Decided(Next::SearchAt(at(1_010)))),
            (Acknowledged, 1_010, Decided(person)),
        ] {
            assert_eq!(doubt(class).after_none(at(ms), WAITS), decision, "{class} after {ms} ms");
        }
    }

    #[test]
    fn an_ended_doubt_waits_only_for_the_index_and_refused_writes_need_no_wait() {
        let settled = |class| Doubt { settled: true, ..doubt(class) };
        for class in [WriteClass::Unclear, WriteClass::Open, WriteClass::Acknowledged] {
            assert_eq!(next_after(&settled(class), 9), Next::SearchAt(at(10)));
            assert_eq!(next_after(&settled(class), 10), Next::Create);
            assert_eq!(settled(class).without_search(Unresolvable::NoSearch), Next::Create);
        }
        assert_eq!(next_after(&settled(WriteClass::Refused), 0), Next::Create);
    }

    #[test]
    fn only_a_person_ends_a_doubt_if_in_doubt_s_is_never() {
        let waits = Waits { in_doubt_ms: None, ..WAITS };
        for class in [WriteClass::Unclear, WriteClass::Open, WriteClass::Acknowledged] {
            let decision = doubt(class).after_none(at(9_999_999), waits);
            let person = Next::NeedsPerson(Unresolvable::Never);
            assert_eq!(decision, AfterNone::Decided(person), "{class}");
        }
        let refused = doubt(WriteClass::Refused).after_none(at(0), waits);
        assert_eq!(refused, AfterNone::Decided(Next::Create));
    }

    #[test]
    fn a_decision_ends_the_wait_but_not_the_index_delay() {
        for decided in [DecidedDoubt::Retry, DecidedDoubt::GiveUp] {
            for class in [WriteClass::Refused, WriteClass::Open, WriteClass::Acknowledged] {
                let doubt = Doubt { decided: Some(decided), ..doubt(class) };
                assert_eq!(next_after(&doubt, 9), Next::SearchAt(at(10)));
                assert_eq!(next_after(&doubt, 10), Next::Create);
                assert_eq!(doubt.without_search(Unresolvable::NoSearch), Next::Create);
            }
        }
    }

    #[test]
    fn without_a_search_only_refused_writes_are_created_again() {
        let next = |class| doubt(class).without_search(Unresolvable::NoSearch);
        assert_eq!(next(WriteClass::Refused), Next::Create);
        assert_eq!(next(WriteClass::Unclear), Next::NeedsPerson(Unresolvable::NoSearch));
    }

    #[test]
    fn a_failed_search_is_not_a_search_that_found_nothing() {
        let unavailable = Refusal::TrackerUnavailable("down".to_owned().into());
        let unsupported = Refusal::Unsupported("no search".to_owned().into());
        let open = doubt(WriteClass::Open);
        assert_eq!(open.after_failed_search(&unavailable), Next::TryLater);
        assert!(matches!(open.after_failed_search(&unsupported), Next::NeedsPerson(_)));
        let refused = doubt(WriteClass::Refused);
        let given_up = Doubt { decided: Some(DecidedDoubt::GiveUp), ..open };
        for refused in [refused, given_up] {
            assert_eq!(refused.after_failed_search(&unsupported), Next::Create);
            assert_eq!(refused.after_failed_search(&unavailable), Next::TryLater);
        }
    }

    #[test]
    fn a_search_that_finds_no_known_defect_is_not_trusted() {
        let doubt = doubt(WriteClass::Unclear);
        let forbidden = Doubt { forbidden: true, ..doubt.clone() };
        assert_eq!(doubt.after_control(Vec::new()), Next::Create);
        assert_eq!(forbidden.after_control(Vec::new()), Next::NeedsPerson(Unresolvable::Forbidden));
        let keys = vec!["QA-1".to_owned()];
        assert_eq!(
            doubt.after_control(keys.clone()),
            Next::NeedsPerson(Unresolvable::ControlNotFound(keys))
        );
    }
}
