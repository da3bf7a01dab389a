//! Which refused attempts get an entry of their own in the audit log. A repeated attempt is counted
//! in the entry of the first one, and an hour has a limited number of entries, so that no client
//! can fill the log or push the entries of others out of it.
//!
//! The counts are in memory until somebody reads the log, or the next cleaning up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use jiff::{SignedDuration, Timestamp};

use crate::domain::{AuditId, OutcomeCode, Role, Via};

/// For how long a repeated attempt is counted in the same entry.
const PERIOD: SignedDuration = SignedDuration::from_hours(1);
/// Entries of one period with all their details. Later ones are counted without client and object.
const ENTRIES_MAX: usize = 100;

/// An attempt that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RefusedAttempt {
    /// The account and its role; absent: the client is not signed in.
    pub account: Option<(String, Role)>,
    /// The address of the client; `0.0.0.0`: several.
    pub client: IpAddr,
    /// Its program.
    pub via: Via,
    /// What was asked for.
    pub action: String,
    /// What it concerned.
    pub object: Option<String>,
    /// The reason.
    pub outcome: OutcomeCode,
}

/// The attempts of the current period.
#[derive(Debug, Default)]
pub(super) struct Recent {
    began: Timestamp,
    counts: HashMap<RefusedAttempt, Count>,
    /// Counts of earlier periods that are not stored yet.
    left: Vec<(AuditId, u64)>,
}

#[derive(Debug)]
struct Count {
    id: AuditId,
    unstored: u64,
}

impl Recent {
    /// Counts an attempt. Returns what to store as a new entry with this id, if it is the first.
    pub(super) fn count(
        &mut self,
        refusal: RefusedAttempt,
        id: AuditId,
        now: Timestamp,
    ) -> Option<RefusedAttempt> {
        if now.duration_since(self.began) >= PERIOD || now < self.began {
            let left = self.take_unstored();
            *self = Self { began: now, counts: HashMap::new(), left };
        }
        let is_new = !self.counts.contains_key(&refusal);
        let refusal = if is_new && self.counts.len() >= ENTRIES_MAX {
            RefusedAttempt { client: Ipv4Addr::UNSPECIFIED.into(), object: None, ..refusal }
        } else {
            refusal
        };
        if let Some(count) = self.counts.get_mut(&refusal) {
            count.unstored += 1;
            return None;
        }
        self.counts.insert(refusal.clone(), Count { id, unstored: 0 });
        Some(refusal)
    }

    /// The entries that were repeated, each with how often since the last call.
    pub(super) fn take_unstored(&mut self) -> Vec<(AuditId, u64)> {
        let counts = self.counts.values_mut().filter(|it| it.unstored > 0);
        let counts = counts.map(|it| (it.id, std::mem::take(&mut it.unstored)));
        let counts: Vec<_> = counts.collect();
        std::mem::take(&mut self.left).into_iter().chain(counts).collect()
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
        let (mut recent, start) = (Recent::default(), Timestamp::from_second(1_000_000).unwrap());
        assert_eq!(recent.count(attempt_from(1), id(1), start), Some(attempt_from(1)));
        assert_eq!(recent.count(attempt_from(1), id(2), start), None);
        assert_eq!(recent.count(attempt_from(1), id(3), start), None);
        assert_eq!(recent.count(attempt_from(2), id(4), start), Some(attempt_from(2)));
        assert_eq!(recent.take_unstored(), [(id(1), 2)]);
        assert_eq!(recent.take_unstored(), []);
        assert_eq!(recent.count(attempt_from(1), id(5), start), None);
        let later = start + PERIOD;
        assert_eq!(recent.count(attempt_from(1), id(6), later), Some(attempt_from(1)));
        assert_eq!(recent.take_unstored(), [(id(1), 1)], "no count of the last hour is lost");
    }

    #[test]
    fn an_hour_has_a_limited_number_of_entries() {
        let (mut recent, start) = (Recent::default(), Timestamp::from_second(1_000_000).unwrap());
        let stored = (0..1_000_u128).filter_map(|number| {
            let client = IpAddr::from([10, 0, (number >> 8) as u8, number as u8]);
            recent.count(RefusedAttempt { client, ..attempt_from(0) }, id(number), start)
        });
        let stored: Vec<_> = stored.collect();
        assert_eq!(stored.len(), ENTRIES_MAX + 1);
        assert_eq!(stored.last().unwrap().client, IpAddr::from(Ipv4Addr::UNSPECIFIED));
        assert_eq!(recent.take_unstored(), [(id(100), 899)]);
    }
}
