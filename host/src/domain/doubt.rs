//! When a defect in doubt may be created after all: the rules, as a pure function of what is known.
//!
//! Time alone decides nothing: each way to a second create leads through a search that found nothing, unless
//! the tracker refused every write, or a person decided. A search that failed, was stopped or did not run is not such a search.

use std::fmt;

use jiff::Timestamp;

use super::{DecidedDoubt, Refusal, WriteClass, after};

/// What is known of the writes that one generation of a failed test let out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Of the worst.
    pub class: WriteClass,
    /// Whether one was answered 403: the tracker may hide what it created.
    pub forbidden: bool,
    /// Whether the first write of each run contained the marker.
    pub has_marker: bool,
    /// The end of the last write, or later: where the clock stepped, the waits began again.
    pub wait_from: Timestamp,
    /// What a person decided.
    pub decided: Option<DecidedDoubt>,
    /// Whether a search that counts, or a person, has ended the doubt since the last write.
    pub settled: bool,
}

/// How long the host waits before it believes a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// The index delay: how long the tracker's search may not see a new record, milliseconds.
    pub index_delay_ms: u64,
    /// How long the tracker may still act on a request, milliseconds; `None`: without limit.
    pub in_doubt_ms: Option<u64>,
}

/// What follows from a search, or from the fact that none is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A click may create the defect.
    Create,
    /// A click may create it if the search also shows that it can see: it finds another defect that was made
    /// the same way.
    CreateIfSearchSees,
    /// Only a search that begins at this instant or later can decide.
    SearchAt(Timestamp),
    /// The search said that it cannot answer now: answer that, and search again later.
    TryLater,
    /// No rule ends this doubt.
    NeedsPerson(Unresolvable),
}

/// Why only a person can resolve a doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolvable {
    /// The connector cannot search.
    NoSearch,
    /// The first write did not contain the marker, so a search cannot find its record.
    NoMarker,
    /// The tracker said that it created something, and no search finds it.
    Acknowledged,
    /// `create.in_doubt_s` is "never".
    Never,
    /// The tracker answered 403, and the connection has no other defect to test the search with.
    Forbidden,
    /// The search finds none of these defects, which were made the same way.
    Blind(Vec<String>),
    /// The search failed in a way that waiting does not change.
    SearchFailed(String),
}

impl Doubt {
    /// A search is not possible: the connector has none, or the marker was not in the write.
    #[must_use]
    pub fn without_search(&self, why: Unresolvable) -> Next {
        if self.class == WriteClass::Refused || self.decided.is_some() || self.settled {
            return Next::Create;
        }
        Next::NeedsPerson(why)
    }

    /// A search that began at `began_at` found nothing.
    #[must_use]
    pub fn after_none(&self, began_at: Timestamp, waits: Waits) -> Next {
        if self.class == WriteClass::Refused && self.decided.is_none() {
            return Next::Create;
        }
        let indexed_at = after(self.wait_from, waits.index_delay_ms);
        if self.decided.is_some() || self.settled {
            return Self::once(began_at, indexed_at, Next::Create);
        }
        match (self.class, waits.in_doubt_ms) {
            (WriteClass::Refused, _) => Next::Create,
            (_, None) => Self::once(began_at, indexed_at, Next::NeedsPerson(Unresolvable::Never)),
            (WriteClass::Unclear, Some(_)) => {
                Self::once(began_at, indexed_at, Next::CreateIfSearchSees)
            }
            (WriteClass::Open, Some(in_doubt_ms)) => {
                Self::once(began_at, after(indexed_at, in_doubt_ms), Next::CreateIfSearchSees)
            }
            (WriteClass::Acknowledged, Some(in_doubt_ms)) => {
                let person = Next::NeedsPerson(Unresolvable::Acknowledged);
                Self::once(began_at, after(indexed_at, in_doubt_ms), person)
            }
        }
    }

    /// The search failed.
    #[must_use]
    pub fn after_failed_search(&self, refusal: &Refusal) -> Next {
        use Refusal as R;
        match refusal {
            R::TrackerUnavailable(_)
            | R::TrackerRateLimited(_)
            | R::Overloaded
            | R::RunStopped
            | R::CircuitOpen { .. }
            | R::ConnectorUnavailable(_)
            | R::HostMemoryFull { .. }
            | R::ShuttingDown
            | R::Paused
            | R::StoreUnavailable(_) => Next::TryLater,
            _ if self.counts_as_refused() => Next::Create,
            other => Next::NeedsPerson(Unresolvable::SearchFailed(other.to_string())),
        }
    }

    fn counts_as_refused(&self) -> bool {
        self.class == WriteClass::Refused || self.decided == Some(DecidedDoubt::GiveUp)
    }

    /// The search did not find any of the defects that it should find; `keys` names them.
    #[must_use]
    pub fn after_control(&self, keys: Vec<String>) -> Next {
        match (keys.is_empty(), self.forbidden) {
            (true, false) => Next::Create,
            (true, true) => Next::NeedsPerson(Unresolvable::Forbidden),
            (false, _) => Next::NeedsPerson(Unresolvable::Blind(keys)),
        }
    }

    fn once(began_at: Timestamp, from: Timestamp, next: Next) -> Next {
        if began_at >= from { next } else { Next::SearchAt(from) }
    }
}

impl fmt::Display for Unresolvable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSearch => f.write_str("its connector cannot search the tracker"),
            Self::NoMarker => f.write_str(
                "the request did not contain the marker, so a search cannot find its record",
            ),
            Self::Acknowledged => f.write_str(
                "the tracker answered that it created a record, and its search does not find it",
            ),
            Self::Never => f.write_str("`create.in_doubt_s` is \"never\""),
            Self::Forbidden => f.write_str(
                "the tracker answered 403, and no other defect of this connection shows whether its \
                 search sees what was created",
            ),
            Self::Blind(keys) => write!(
                f,
                "its search does not find {} either, which this connection created",
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

    #[test]
    fn a_search_that_finds_nothing_decides_after_the_wait_of_the_class() {
        use WriteClass::{Acknowledged, Open, Refused, Unclear};
        let person = Next::NeedsPerson(Unresolvable::Acknowledged);
        for (class, ms, next) in [
            (Refused, 0, Next::Create),
            (Unclear, 9, Next::SearchAt(at(10))),
            (Unclear, 10, Next::CreateIfSearchSees),
            (Open, 10, Next::SearchAt(at(1_010))),
            (Open, 1_009, Next::SearchAt(at(1_010))),
            (Open, 1_010, Next::CreateIfSearchSees),
            (Acknowledged, 1_009, Next::SearchAt(at(1_010))),
            (Acknowledged, 1_010, person),
        ] {
            assert_eq!(doubt(class).after_none(at(ms), WAITS), next, "{class} after {ms} ms");
        }
    }

    #[test]
    fn a_doubt_that_was_settled_waits_for_the_index_only_and_a_refused_one_for_nothing() {
        let settled = |class| Doubt { settled: true, ..doubt(class) };
        for class in [WriteClass::Unclear, WriteClass::Open, WriteClass::Acknowledged] {
            assert_eq!(settled(class).after_none(at(9), WAITS), Next::SearchAt(at(10)));
            assert_eq!(settled(class).after_none(at(10), WAITS), Next::Create);
            assert_eq!(settled(class).without_search(Unresolvable::NoSearch), Next::Create);
        }
        assert_eq!(settled(WriteClass::Refused).after_none(at(0), WAITS), Next::Create);
    }

    #[test]
    fn with_never_only_a_person_ends_a_doubt() {
        let waits = Waits { in_doubt_ms: None, ..WAITS };
        for class in [WriteClass::Unclear, WriteClass::Open, WriteClass::Acknowledged] {
            let next = doubt(class).after_none(at(9_999_999), waits);
            assert_eq!(next, Next::NeedsPerson(Unresolvable::Never), "{class}");
        }
        let refused = doubt(WriteClass::Refused).after_none(at(0), waits);
        assert_eq!(refused, Next::Create);
    }

    #[test]
    fn a_decision_ends_the_wait_and_not_the_index_delay() {
        for decided in [DecidedDoubt::Retry, DecidedDoubt::GiveUp] {
            for class in [WriteClass::Refused, WriteClass::Open, WriteClass::Acknowledged] {
                let doubt = Doubt { decided: Some(decided), ..doubt(class) };
                assert_eq!(doubt.after_none(at(9), WAITS), Next::SearchAt(at(10)));
                assert_eq!(doubt.after_none(at(10), WAITS), Next::Create);
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
        let unavailable = Refusal::TrackerUnavailable("down".to_owned());
        let unsupported = Refusal::Unsupported("no search".to_owned());
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
    fn a_search_that_sees_nothing_at_all_does_not_count() {
        let doubt = doubt(WriteClass::Unclear);
        let forbidden = Doubt { forbidden: true, ..doubt.clone() };
        assert_eq!(doubt.after_control(Vec::new()), Next::Create);
        assert_eq!(forbidden.after_control(Vec::new()), Next::NeedsPerson(Unresolvable::Forbidden));
        let keys = vec!["QA-1".to_owned()];
        assert_eq!(doubt.after_control(keys.clone()), Next::NeedsPerson(Unresolvable::Blind(keys)));
    }
}
