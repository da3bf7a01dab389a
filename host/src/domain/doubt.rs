//! The rules that decide when a defect in doubt may be created after all. All rules are pure
//! functions.
//!
//! A second create is never allowed only because time has passed. A second create needs a search
//! that found nothing, unless the tracker refused every write or a person decided. A search that
//! failed, was stopped or did not run is not a search that found nothing.

use std::fmt;

use jiff::Timestamp;

use super::{DecidedDoubt, Refusal, WriteClass, after};

/// The known facts about the writes of one generation of a failed test, or of one follow-up step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The class of the worst write, in the order of [`WriteClass`].
    pub class: WriteClass,
    /// Whether one of the writes was answered 403. The tracker may then hide a record that it
    /// created.
    pub forbidden: bool,
    /// Whether the first write of each run (of a follow-up step: each write) contained the marker.
    pub has_marker: bool,
    /// The time at which the waits start: the end of the last write, or later.
    pub wait_from: Timestamp,
    /// A person's decision, which ends the wait for `create.in_doubt_s`; `None`: no decision.
    pub decision: Option<DecidedDoubt>,
    /// Whether the doubt has ended since the last write, or the last run sent no write.
    pub has_ended: bool,
}

/// How long to wait before a search that finds nothing can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// The index delay: how long the tracker's search may not find a new record, milliseconds.
    pub index_delay_ms: u64,
    /// The time during which the tracker may still carry out a request, milliseconds; `None`:
    /// without limit.
    pub in_doubt_ms: Option<u64>,
}

/// The next action after a search that found nothing or failed, or if no search is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DoubtAction {
    /// The doubt has ended: the defect may be created.
    Create,
    /// Search again: only a search that begins at this instant or later can be trusted.
    SearchAt(Timestamp),
    /// The search gave no result that can be used. Report this, and search again later.
    TryLater,
    /// A person must resolve the doubt.
    NeedsPerson(UnresolvableReason),
}

/// The decision after a search that found nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmptySearchDecision {
    /// The next action is known.
    Decided(DoubtAction),
    /// First check that the search works, by searching for known records. If none is found or none
    /// is known, [`Doubt::action_after_control_search`] decides.
    CheckSearch,
}

/// The reason why a person must resolve a doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnresolvableReason {
    /// The connector cannot search.
    NoSearch,
    /// The first write of a run lacked the marker, so a search cannot find what the write created.
    NoMarker,
    /// The tracker answered that it created something, but the search does not find it.
    Acknowledged,
    /// The operator set `create.in_doubt_s` to "never".
    Never,
    /// The tracker answered one of the writes with 403, and the connection has no other defect with
    /// which the search can be tested.
    Forbidden,
    /// The search cannot be trusted: it finds none of these known defects, or none of the known
    /// comments at them.
    ControlNotFound(Vec<String>),
    /// The search failed, and waiting may not help.
    SearchFailed(String),
}

impl Doubt {
    /// Returns the next action for a defect that no search can find, because the connector cannot
    /// search or the write did not contain the marker.
    #[must_use]
    pub fn action_without_search(&self, why: UnresolvableReason) -> DoubtAction {
        if self.class == WriteClass::Refused || self.decision.is_some() || self.has_ended {
            return DoubtAction::Create;
        }
        DoubtAction::NeedsPerson(why)
    }

    /// Decides after a search found nothing. If the search began too early to be trusted, the
    /// decision is a new search.
    #[must_use]
    pub fn decide_after_empty_search(
        &self,
        began_at: Timestamp,
        waits: Waits,
    ) -> EmptySearchDecision {
        let create = EmptySearchDecision::Decided(DoubtAction::Create);
        let needs_person = |why| EmptySearchDecision::Decided(DoubtAction::NeedsPerson(why));
        let indexed_at = after(self.wait_from, waits.index_delay_ms);
        let (trusted_from, decision) = match (self.class, waits.in_doubt_ms) {
            _ if self.decision.is_some() => (indexed_at, create),
            (WriteClass::Refused, _) => return create,
            _ if self.has_ended => (indexed_at, create),
            (_, None) => (indexed_at, needs_person(UnresolvableReason::Never)),
            (WriteClass::Unclear, Some(_)) => (indexed_at, EmptySearchDecision::CheckSearch),
            (WriteClass::Open, Some(ms)) => {
                (after(indexed_at, ms), EmptySearchDecision::CheckSearch)
            }
            (WriteClass::Acknowledged, Some(ms)) => {
                (after(indexed_at, ms), needs_person(UnresolvableReason::Acknowledged))
            }
        };
        if began_at >= trusted_from {
            decision
        } else {
            EmptySearchDecision::Decided(DoubtAction::SearchAt(trusted_from))
        }
    }

    /// Decides after a search that failed.
    #[must_use]
    pub fn action_after_failed_search(&self, refusal: &Refusal) -> DoubtAction {
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
            | R::StoreUnavailable(_) => DoubtAction::TryLater,
            _ if self.allows_create_without_search() => DoubtAction::Create,
            other => DoubtAction::NeedsPerson(UnresolvableReason::SearchFailed(other.to_string())),
        }
    }

    /// Whether the defect may be created even if the search fails permanently.
    fn allows_create_without_search(&self) -> bool {
        self.class == WriteClass::Refused || self.decision == Some(DecidedDoubt::GiveUp)
    }

    /// Decides after the search for the defect and the searches for the known defects `keys` found
    /// nothing. `keys` is empty if no known defect can be searched for.
    #[must_use]
    pub fn action_after_control_search(&self, keys: Vec<String>) -> DoubtAction {
        match (keys.is_empty(), self.forbidden) {
            (true, false) => DoubtAction::Create,
            (true, true) => DoubtAction::NeedsPerson(UnresolvableReason::Forbidden),
            (false, _) => DoubtAction::NeedsPerson(UnresolvableReason::ControlNotFound(keys)),
        }
    }
}

impl fmt::Display for UnresolvableReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSearch => f.write_str("the connector cannot search the tracker"),
            Self::NoMarker => f.write_str(
                "a write did not contain the marker, so a search cannot find what it created",
            ),
            Self::Acknowledged => f.write_str(
                "the tracker answered that it created a record, but its search does not find it",
            ),
            Self::Never => {
                f.write_str("with `create.in_doubt_s` = \"never\", only a person can decide")
            }
            Self::Forbidden => f.write_str(
                "the tracker answered 403, and this connection has no known record with which to \
                 check that the tracker's search finds records",
            ),
            Self::ControlNotFound(keys) => {
                let keys = keys.join(", ");
                write!(f, "the tracker's search does not find known records either: {keys}")
            }
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
            decision: None,
            has_ended: false,
        }
    }

    /// Returns the action after a search that found nothing and began `ms` milliseconds after the
    /// start of the wait.
    fn action_after_empty_search(doubt: &Doubt, ms: i64) -> DoubtAction {
        match doubt.decide_after_empty_search(at(ms), WAITS) {
            EmptySearchDecision::Decided(next) => next,
            EmptySearchDecision::CheckSearch => panic!("the search is checked"),
        }
    }

    #[test]
    fn a_search_that_finds_nothing_is_trusted_after_the_wait_for_the_class_of_the_write() {
        use EmptySearchDecision::{CheckSearch, Decided};
        use WriteClass::{Acknowledged, Open, Refused, Unclear};
        let person = DoubtAction::NeedsPerson(UnresolvableReason::Acknowledged);
        for (class, ms, decision) in [
            (Refused, 0, Decided(DoubtAction::Create)),
            (Unclear, 9, Decided(DoubtAction::SearchAt(at(10)))),
            (Unclear, 10, CheckSearch),
            (Open, 10, Decided(DoubtAction::SearchAt(at(1_010)))),
            (Open, 1_009, Decided(DoubtAction::SearchAt(at(1_010)))),
            (Open, 1_010, CheckSearch),
            (Acknowledged, 1_009, Decided(DoubtAction::SearchAt(at(1_010)))),
            (Acknowledged, 1_010, Decided(person)),
        ] {
            assert_eq!(
                doubt(class).decide_after_empty_search(at(ms), WAITS),
                decision,
                "{class} after {ms} ms"
            );
        }
    }

    #[test]
    fn an_ended_doubt_needs_only_the_index_delay_and_refused_writes_need_no_wait() {
        let settled = |class| Doubt { has_ended: true, ..doubt(class) };
        for class in [WriteClass::Unclear, WriteClass::Open, WriteClass::Acknowledged] {
            assert_eq!(
                action_after_empty_search(&settled(class), 9),
                DoubtAction::SearchAt(at(10))
            );
            assert_eq!(action_after_empty_search(&settled(class), 10), DoubtAction::Create);
            assert_eq!(
                settled(class).action_without_search(UnresolvableReason::NoSearch),
                DoubtAction::Create
            );
        }
        assert_eq!(
            action_after_empty_search(&settled(WriteClass::Refused), 0),
            DoubtAction::Create
        );
    }

    #[test]
    fn only_a_person_ends_a_doubt_if_in_doubt_s_is_never() {
        let waits = Waits { in_doubt_ms: None, ..WAITS };
        for class in [WriteClass::Unclear, WriteClass::Open, WriteClass::Acknowledged] {
            let decision = doubt(class).decide_after_empty_search(at(9_999_999), waits);
            let person = DoubtAction::NeedsPerson(UnresolvableReason::Never);
            assert_eq!(decision, EmptySearchDecision::Decided(person), "{class}");
        }
        let refused = doubt(WriteClass::Refused).decide_after_empty_search(at(0), waits);
        assert_eq!(refused, EmptySearchDecision::Decided(DoubtAction::Create));
    }

    #[test]
    fn the_decision_of_a_person_ends_the_wait_but_not_the_index_delay() {
        for decided in [DecidedDoubt::Retry, DecidedDoubt::GiveUp] {
            for class in [WriteClass::Refused, WriteClass::Open, WriteClass::Acknowledged] {
                let doubt = Doubt { decision: Some(decided), ..doubt(class) };
                assert_eq!(action_after_empty_search(&doubt, 9), DoubtAction::SearchAt(at(10)));
                assert_eq!(action_after_empty_search(&doubt, 10), DoubtAction::Create);
                assert_eq!(
                    doubt.action_without_search(UnresolvableReason::NoSearch),
                    DoubtAction::Create
                );
            }
        }
    }

    #[test]
    fn without_a_search_a_defect_is_created_again_only_after_refused_writes() {
        let next = |class| doubt(class).action_without_search(UnresolvableReason::NoSearch);
        assert_eq!(next(WriteClass::Refused), DoubtAction::Create);
        assert_eq!(
            next(WriteClass::Unclear),
            DoubtAction::NeedsPerson(UnresolvableReason::NoSearch)
        );
    }

    #[test]
    fn a_failed_search_is_not_treated_as_a_search_that_found_nothing() {
        let unavailable = Refusal::TrackerUnavailable("down".to_owned().into());
        let unsupported = Refusal::Unsupported("no search".to_owned().into());
        let open = doubt(WriteClass::Open);
        assert_eq!(open.action_after_failed_search(&unavailable), DoubtAction::TryLater);
        assert!(matches!(
            open.action_after_failed_search(&unsupported),
            DoubtAction::NeedsPerson(_)
        ));
        let refused = doubt(WriteClass::Refused);
        let given_up = Doubt { decision: Some(DecidedDoubt::GiveUp), ..open };
        for refused in [refused, given_up] {
            assert_eq!(refused.action_after_failed_search(&unsupported), DoubtAction::Create);
            assert_eq!(refused.action_after_failed_search(&unavailable), DoubtAction::TryLater);
        }
    }

    #[test]
    fn a_search_that_finds_no_known_defect_is_not_trusted() {
        let doubt = doubt(WriteClass::Unclear);
        let forbidden = Doubt { forbidden: true, ..doubt.clone() };
        assert_eq!(doubt.action_after_control_search(Vec::new()), DoubtAction::Create);
        assert_eq!(
            forbidden.action_after_control_search(Vec::new()),
            DoubtAction::NeedsPerson(UnresolvableReason::Forbidden)
        );
        let keys = vec!["QA-1".to_owned()];
        assert_eq!(
            doubt.action_after_control_search(keys.clone()),
            DoubtAction::NeedsPerson(UnresolvableReason::ControlNotFound(keys))
        );
    }
}
