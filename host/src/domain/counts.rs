//! How many defects a tracker has.

/// Maximum length of a Test Manager project's id, characters.
pub const PROJECT_CHARS_MAX: usize = 128;

/// Counts of a project's defects, as the connector reports them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Open defects.
    pub open: u64,
    /// Closed defects.
    pub closed: u64,
    /// Open defects of the critical priorities.
    pub critical: u64,
    /// Open defects of the moderate priorities.
    pub moderate: u64,
    /// Address of the list of open critical defects.
    pub critical_link: Option<String>,
}

/// A count that Test Manager's int32 cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {value}, more than Test Manager's int32 can hold (2147483647)")]
pub struct CountTooLarge {
    /// The answer's field.
    pub field: &'static str,
    /// Its value.
    pub value: u64,
}

impl Counts {
    /// Open plus closed.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.open.saturating_add(self.closed)
    }

    /// Every count as Test Manager's int32, in the order total, critical, moderate, open, closed.
    ///
    /// # Errors
    /// Names the first field that does not fit.
    pub fn as_int32(&self) -> Result<[i32; 5], CountTooLarge> {
        let fit =
            |field, value: u64| i32::try_from(value).map_err(|_| CountTooLarge { field, value });
        Ok([
            fit("totalDefects", self.total())?,
            fit("criticalDefects", self.critical)?,
            fit("moderateDefects", self.moderate)?,
            fit("openDefects", self.open)?,
            fit("closedDefects", self.closed)?,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_past_int32_names_the_total() {
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
