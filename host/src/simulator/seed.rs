//! Derives the ids and numbers of the data set from a seed, and formats times. A value depends only
//! on the seed and on the kind and key of its record.

use std::fmt::Display;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The start of the first execution, seconds since 1970: 2 November 2026, 06:00 UTC.
pub(super) const FIRST_START_S: i64 = 1_793_599_200;

/// The values of the bits that are the same in all ids, as in the ids of Test Manager. Such ids are
/// not UUIDs of any version in RFC 9562.
const ID_FIXED_BITS: u128 = 0x0000_0000_0000_0000_0000_0b49_0000_0000;
/// The mask of the bits that differ between ids.
const ID_RANDOM_MASK: u128 = 0xffff_ffff_ffff_0f00_ffff_0000_ffff_ffff;

#[derive(Debug, Clone, Copy)]
pub(super) struct Seed(pub(super) u64);

impl Seed {
    pub(super) fn id(self, kind: &str, key: impl Display) -> Uuid {
        Uuid::from_u128(self.hash(kind, key) & ID_RANDOM_MASK | ID_FIXED_BITS)
    }

    /// The number is smaller than `below`, or 0 if `below` is 0.
    pub(super) fn number_below(self, kind: &str, key: impl Display, below: u64) -> u64 {
        let number = self.hash(kind, key) % u128::from(below.max(1));
        u64::try_from(number).unwrap_or_default()
    }

    pub(super) fn choose(self, kind: &str, key: impl Display, words: &[&'static str]) -> String {
        let index = self.number_below(kind, key, words.len() as u64);
        let word = words.get(usize::try_from(index).unwrap_or_default());
        word.copied().unwrap_or_default().to_owned()
    }

    fn hash(self, kind: &str, key: impl Display) -> u128 {
        let digest = Sha256::digest(format!("{}/{kind}/{key}", self.0));
        digest.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
    }
}

/// Formats a time as .NET does: RFC 3339 in UTC, with a fraction of seven decimal digits, which is
/// always the same. `second` is in seconds since 1970.
pub(super) fn format_time(second: i64) -> String {
    format_time_with_ticks(second, 1_234_567)
}

/// Formats a time like [`format_time`], with this fraction of the second. `ticks` are units of 100
/// ns, as in .NET.
pub(super) fn format_time_with_ticks(second: i64, ticks: usize) -> String {
    let text = jiff::Timestamp::from_second(second).map(|instant| instant.to_string());
    text.unwrap_or_default().replace('Z', &format!(".{ticks:07}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_equal_only_for_the_same_seed_kind_and_key() {
        assert_eq!(Seed(1).id("log", 3), Seed(1).id("log", 3));
        assert_ne!(Seed(1).id("log", 3), Seed(2).id("log", 3));
        assert_ne!(Seed(1).id("log", 3), Seed(1).id("case", 3));
        assert!(Seed(1).number_below("n", "x", 7) < 7);
        assert_eq!(Seed(1).number_below("n", "x", 0), 0);
    }

    #[test]
    fn ids_have_the_fixed_bits_of_test_managers_ids() {
        let id = Seed(1).id("log", 3).to_string();
        assert_eq!((&id[14..15], &id[16..18], &id[24..28]), ("0", "00", "0b49"), "{id}");
    }

    #[test]
    fn a_time_has_seven_decimal_digits() {
        assert_eq!(format_time(FIRST_START_S), "2026-11-02T06:00:00.1234567Z");
        assert_eq!(format_time_with_ticks(FIRST_START_S, 42), "2026-11-02T06:00:00.0000042Z");
    }
}
