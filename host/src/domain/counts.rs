//! The counts of a Defect KPIs answer. This file never requests counts.

/// Maximum length of a Test Manager project's id, characters.
pub const PROJECT_CHARS_MAX: usize = 128;

/// Counts of the tracker's defects, as the connector reported them for one Defect KPIs request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Number of open defects, of any priority.
    pub open: u64,
    /// Number of closed defects, of any priority.
    pub closed: u64,
    /// Number of open defects that the connector counts as critical.
    pub critical: u64,
    /// Number of open defects that the connector counts as moderate.
    pub moderate: u64,
    /// Web address of the tracker's list of open critical defects, if the connector gave one.
    pub critical_link: Option<String>,
}

/// A count that is too large for Test Manager's int32.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {value}, but Test Manager accepts at most 2147483647 (int32)")]
pub struct CountTooLarge {
    /// The name of the field in the answer to Test Manager.
    pub field: &'static str,
    /// The count, which is above 2147483647.
    pub value: u64,
}

impl Counts {
    /// Returns the sum of open and closed defects.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.open.saturating_add(self.closed)
    }

    /// Converts every count to Test Manager's int32, in the order total, critical, moderate, open,
    /// closed.
    ///
    /// # Errors
    /// The first count that is too large for int32.
    pub fn as_int32(&self) -> Result<[i32; 5], CountTooLarge> {
        let to_int32 =
            |field, value: u64| i32::try_from(value).map_err(|_| CountTooLarge { field, value });
        Ok([
            to_int32("totalDefects", self.total())?,
            to_int32("criticalDefects", self.critical)?,
            to_int32("moderateDefects", self.moderate)?,
            to_int32("openDefects", self.open)?,
            to_int32("closedDefects", self.closed)?,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_a_sum_above_int32_names_the_total() {
        let counts = Counts {
            open: 2_147_483_647,
            closed: 1,
            critical: 0,
            moderate: 0,
            critical_link: None,
        };
        assert_eq!(
            counts.as_int32(),
            Err(CountTooLarge { field: "totalDefects", value: 2_147_483_648 })
        );
    }
}
