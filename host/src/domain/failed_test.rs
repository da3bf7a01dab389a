//! The failed test of a Create Defect request, and the marker by which the tracker's record can be
//! found again.

use data_encoding::{Encoding, Specification};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use uuid::Uuid;

use super::ConnectionId;

/// One failed test. Its identity is (execution, case, variation); the link is not part of the
/// identity.
///
/// Source: the Create Defect body in UiPath's Test Manager user guide, page "Webhooks".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedTest {
    /// The field `testExecutionId` of the request.
    pub test_execution_id: Uuid,
    /// The field `testCaseId` of the request.
    pub test_case_id: Uuid,
    /// The field `variationId` of the request; absent if it is empty.
    variation_id: Option<String>,
    /// The field `linkToTestCaseLog` of the request; absent if it is empty.
    pub link: Option<String>,
}

impl FailedTest {
    /// Makes a failed test. An empty variation or link is treated as missing.
    #[must_use]
    pub fn new(
        test_execution_id: Uuid,
        test_case_id: Uuid,
        variation_id: Option<String>,
        link: Option<String>,
    ) -> Self {
        Self {
            test_execution_id,
            test_case_id,
            variation_id: variation_id.filter(|text| !text.is_empty()),
            link: link.filter(|text| !text.is_empty()),
        }
    }

    /// Returns the id of the variation, which is never empty; `None` if there is no variation.
    #[must_use]
    pub fn variation_id(&self) -> Option<&str> {
        self.variation_id.as_deref()
    }

    /// Returns the identity: execution, case and variation. The variation is "" if there is none.
    #[must_use]
    pub fn key(&self) -> (Uuid, Uuid, &str) {
        let variation = self.variation_id.as_deref().unwrap_or_default();
        (self.test_execution_id, self.test_case_id, variation)
    }

    /// Returns the identity of the failed test together with the connection.
    #[must_use]
    pub fn key_in(&self, connection: ConnectionId) -> FailedTestKey {
        let (execution, case, variation) = self.key();
        FailedTestKey { connection, execution, case, variation: variation.to_owned() }
    }
}

/// The identity of a failed test in a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FailedTestKey {
    connection: ConnectionId,
    execution: Uuid,
    case: Uuid,
    /// Empty if there is no variation.
    variation: String,
}

/// The marker that a connector stores in the tracker: one search word of 26 lower-case letters and
/// digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Marker(String);

impl Marker {
    /// Number of characters in a marker. Each character encodes five bits of the digest, so a
    /// marker has 130 bits.
    pub const LENGTH: usize = 26;

    /// Derives the marker of a failed test's defect. The marker is always the same for the same
    /// arguments.
    #[must_use]
    pub fn derive(connection: ConnectionId, test: &FailedTest, generation: u32) -> Self {
        let mut digest = Sha256::new();
        digest.update(connection.0.as_bytes());
        digest.update(test.test_execution_id.as_bytes());
        digest.update(test.test_case_id.as_bytes());
        digest.update(generation.to_be_bytes());
        digest.update(test.variation_id().unwrap_or_default().as_bytes());
        let mut text = ALPHABET.encode(&digest.finalize());
        text.truncate(Self::LENGTH);
        Self(text)
    }

    /// Returns the marker's characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is not a marker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a marker: use 26 lower-case letters and digits, without 0, 1, l and o")]
pub struct InvalidMarker(pub String);

impl FromStr for Marker {
    type Err = InvalidMarker;

    fn from_str(text: &str) -> Result<Self, InvalidMarker> {
        let is_symbol = |byte: u8| SYMBOLS.as_bytes().contains(&byte);
        let is_marker = text.len() == Self::LENGTH && text.bytes().all(is_symbol);
        if is_marker { Ok(Self(text.to_owned())) } else { Err(InvalidMarker(text.to_owned())) }
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An alphabet of 32 digits and letters, without `0`, `1`, `l` and `o`, which people confuse.
const SYMBOLS: &str = "23456789abcdefghijkmnpqrstuvwxyz";

/// The encoding that writes bytes as characters of [`SYMBOLS`].
#[expect(clippy::expect_used, reason = "a constant alphabet, covered by the tests below")]
static ALPHABET: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str(SYMBOLS);
    specification.encoding().expect("32 distinct ASCII symbols")
});

#[cfg(test)]
mod tests {
    use super::*;

    fn test(variation: Option<&str>) -> FailedTest {
        FailedTest::new(Uuid::from_u128(1), Uuid::from_u128(2), variation.map(str::to_owned), None)
    }

    #[test]
    fn a_missing_variation_is_an_empty_text_in_the_key() {
        let (execution, case) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(test(None).key(), (execution, case, ""));
        assert_eq!(test(Some("Row 7")).key(), (execution, case, "Row 7"));
    }

    #[test]
    fn a_marker_is_one_lower_case_word_that_depends_on_connection_variation_and_generation() {
        let connection = ConnectionId(Uuid::from_u128(7));
        let marker = Marker::derive(connection, &test(None), 1);
        assert_eq!(marker.as_str().len(), Marker::LENGTH);
        assert!(marker.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        assert_eq!(marker, Marker::derive(connection, &test(Some("")), 1));
        assert_eq!(marker.as_str().parse(), Ok(marker.clone()));
        for other in ["", "0", &marker.as_str()[1..], &marker.as_str().to_uppercase()] {
            assert!(other.parse::<Marker>().is_err(), "{other}");
        }
        for other in [
            Marker::derive(connection, &test(None), 2),
            Marker::derive(connection, &test(Some("a")), 1),
            Marker::derive(ConnectionId(Uuid::from_u128(8)), &test(None), 1),
        ] {
            assert_ne!(marker, other);
        }
    }
}
