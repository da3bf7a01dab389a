//! Derives ids, numbers and times of the data set from a seed, always in the same way.

use std::fmt::Display;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The start of the first execution of the data set, seconds since 1970: 2 November 2026, 06:00
/// UTC.
pub(super) const FIRST_START_S: i64 = 1_793_599_200;

/// Test Manager's ids are not UUIDs of any version in RFC 9562: these bits are the same in each.
const ID_FIXED: u128 = 0x0000_0000_0000_0000_0000_0b49_0000_0000;
const ID_RANDOM: u128 = 0xffff_ffff_ffff_0f00_ffff_0000_ffff_ffff;

/// The seed of a data set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed(pub(super) u64);

impl Seed {
    /// The id of a record, always the same for the same kind and key.
    pub(super) fn id(self, kind: &str, key: impl Display) -> Uuid {
        Uuid::from_u128(self.digest(kind, key) & ID_RANDOM | ID_FIXED)
    }

    /// A number that is smaller than `below`.
    pub(super) fn number(self, kind: &str, key: impl Display, below: u64) -> u64 {
        let digest = self.digest(kind, key) % u128::from(below.max(1));
        u64::try_from(digest).unwrap_or_default()
    }

    /// Chooses one of these words.
    pub(super) fn choose(self, kind: &str, key: impl Display, words: &[&'static str]) -> String {
        let at = self.number(kind, key, words.len() as u64);
        let word = words.get(usize::try_from(at).unwrap_or_default());
        word.copied().unwrap_or_default().to_owned()
    }

    fn digest(self, kind: &str, key: impl Display) -> u128 {
        let hash = Sha256::digest(format!("{}/{kind}/{key}", self.0));
        hash.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
    }
}

/// An instant as .NET writes it: RFC 3339 in UTC with seven digits of a second.
pub(super) fn instant(second: i64) -> String {
    exact_instant(second, 1_234_567)
}

/// As [`instant`], with this number of digits of a second.
pub(super) fn exact_instant(second: i64, digits: usize) -> String {
    let text = jiff::Timestamp::from_second(second).map(|instant| instant.to_string());
    text.unwrap_or_default().replace('Z', &format!(".{digits:07}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_values_and_another_seed_others() {
        assert_eq!(Seed(1).id("log", 3), Seed(1).id("log", 3));
        assert_ne!(Seed(1).id("log", 3), Seed(2).id("log", 3));
        assert_ne!(Seed(1).id("log", 3), Seed(1).id("case", 3));
        assert!(Seed(1).number("n", "x", 7) < 7);
        assert_eq!(Seed(1).number("n", "x", 0), 0);
    }

    #[test]
    fn ids_look_like_those_of_test_manager() {
        let id = Seed(1).id("log", 3).to_string();
        assert_eq!((&id[14..15], &id[16..18], &id[24..28]), ("0", "00", "0b49"), "{id}");
    }

    #[test]
    fn instants_have_seven_digits() {
        assert_eq!(instant(FIRST_START_S), "2026-11-02T06:00:00.1234567Z");
        assert_eq!(exact_instant(FIRST_START_S, 42), "2026-11-02T06:00:00.0000042Z");
    }
}
