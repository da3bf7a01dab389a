//! Decides which refused attempts get their own entry in the audit log, so that no client can fill
//! the log. Repeats are counted in the entry of the first attempt.
//!
//! This file never writes to the store.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use jiff::{SignedDuration, Timestamp};

use crate::domain::{AuditId, OutcomeCode, Role, Via};

/// Repeats of an attempt in one period of this length are counted in the same entry.
const PERIOD: SignedDuration = SignedDuration::from_hours(1);
/// Maximum number of different attempts in one period that are stored with all details. Further
/// attempts are stored without client and object, so that many of them share one entry.
const ENTRIES_MAX: usize = 100;

/// An attempt that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RefusedAttempt {
    /// The account and its role; absent: the client is not signed in.
    pub account: Option<(String, Role)>,
    /// The address of the client; `0.0.0.0` if the entry may count several clients.
    pub client: IpAddr,
    /// The kind of program that sent the request.
    pub via: Via,
    /// The name of the requested change, or `read` if the request would change nothing.
    pub action: String,
    /// The name or id of the object that the request names; absent if it names none, or if the
    /// entry may count several objects.
    pub object: Option<String>,
    /// The reason of the refusal.
    pub outcome: OutcomeCode,
}

/// Counts the attempts of the current period.
#[derive(Debug, Default)]
pub(super) struct RefusalCounts {
    period_start: Timestamp,
    counts: HashMap<RefusedAttempt, RepeatCount>,
    /// Unstored repeats of entries that are no longer in `counts`.
    earlier_counts: Vec<(AuditId, u64)>,
}

/// The entry of an attempt, and the number of its repeats that are not stored yet.
#[derive(Debug)]
struct RepeatCount {
    id: AuditId,
    unstored_repeats: u64,
}

impl RefusalCounts {
    /// Counts an attempt. If it needs a new entry, returns what the caller must store in the entry
    /// with this `id`.
    pub(super) fn count_attempt(
        &mut self,
        refusal: RefusedAttempt,
        id: AuditId,
        now: Timestamp,
    ) -> Option<RefusedAttempt> {
        if now.duration_since(self.period_start) >= PERIOD || now < self.period_start {
            let earlier_counts = self.take_unstored();
            *self = Self { period_start: now, counts: HashMap::new(), earlier_counts };
        }
        let is_new = !self.counts.contains_key(&refusal);
        let refusal = if is_new && self.counts.len() >= ENTRIES_MAX {
            RefusedAttempt { client: Ipv4Addr::UNSPECIFIED.into(), object: None, ..refusal }
        } else {
            refusal
        };
        if let Some(count) = self.counts.get_mut(&refusal) {
            count.unstored_repeats += 1;
            return None;
        }
        self.counts.insert(refusal.clone(), RepeatCount { id, unstored_repeats: 0 });
        Some(refusal)
    }

    /// Returns the number of unstored repeats of each entry, and resets it.
    pub(super) fn take_unstored(&mut self) -> Vec<(AuditId, u64)> {
        let counts = self.counts.values_mut().filter(|count| count.unstored_repeats > 0);
        let counts = counts.map(|count| (count.id, std::mem::take(&mut count.unstored_repeats)));
        let counts: Vec<_> = counts.collect();
        std::mem::take(&mut self.earlier_counts).into_iter().chain(counts).collect()
    }

    /// Forgets the attempt of an entry that could not be stored, so that its next repeat is stored
    /// in a new entry.
    pub(super) fn forget(&mut self, id: AuditId) {
        self.counts.retain(|_, count| count.id != id);
    }

    /// Takes back counts of [`Self::take_unstored`] that could not be stored.
    pub(super) fn add_unstored(&mut self, unstored: impl Iterator<Item = (AuditId, u64)>) {
        for (id, repeats) in unstored {
            match self.counts.values_mut().find(|count| count.id == id) {
                Some(count) => count.unstored_repeats += repeats,
                None => self.earlier_counts.push((id, repeats)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn attempt_from(number: u8) -> RefusedAttempt {
        RefusedAttempt {
            account: None,
            client: [203, 0, 113, number].into(),
            via: Via::Api,
            action: "token.use".to_owned(),
            object: None,
            outcome: OutcomeCode::Unauthorized,
        }
    }

    fn id(number: u128) -> AuditId {
        AuditId(Uuid::from_u128(number))
    }

    #[test]
    fn repeated_attempts_are_counted_in_the_first_entry_of_the_hour() {
        let (mut refusals, start) =
            (RefusalCounts::default(), Timestamp::from_second(1_000_000).unwrap());
        assert_eq!(refusals.count_attempt(attempt_from(1), id(1), start), Some(attempt_from(1)));
        assert_eq!(refusals.count_attempt(attempt_from(1), id(2), start), None);
        assert_eq!(refusals.count_attempt(attempt_from(1), id(3), start), None);
        assert_eq!(refusals.count_attempt(attempt_from(2), id(4), start), Some(attempt_from(2)));
        refusals.forget(id(4));
        assert_eq!(refusals.count_attempt(attempt_from(2), id(7), start), Some(attempt_from(2)));
        assert_eq!(refusals.take_unstored(), [(id(1), 2)]);
        assert_eq!(refusals.take_unstored(), []);
        assert_eq!(refusals.count_attempt(attempt_from(1), id(5), start), None);
        let later = start + PERIOD;
        assert_eq!(refusals.count_attempt(attempt_from(1), id(6), later), Some(attempt_from(1)));
        assert_eq!(refusals.take_unstored(), [(id(1), 1)], "no count of the last hour is lost");
    }

    #[test]
    fn an_hour_has_a_limited_number_of_entries() {
        let (mut refusals, start) =
            (RefusalCounts::default(), Timestamp::from_second(1_000_000).unwrap());
        let stored = (0..1_000_u128).filter_map(|number| {
            let client = IpAddr::from([10, 0, (number >> 8) as u8, number as u8]);
            refusals.count_attempt(RefusedAttempt { client, ..attempt_from(0) }, id(number), start)
        });
        let stored: Vec<_> = stored.collect();
        assert_eq!(stored.len(), ENTRIES_MAX + 1);
        assert_eq!(stored.last().unwrap().client, IpAddr::from(Ipv4Addr::UNSPECIFIED));
        assert_eq!(refusals.take_unstored(), [(id(100), 899)]);
        refusals.add_unstored([(id(100), 899), (id(5_000), 1)].into_iter());
        assert_eq!(refusals.take_unstored(), [(id(5_000), 1), (id(100), 899)]);
    }
}
