//! How much of their limits the newest runs of a connector used.

use jiff::Timestamp;

use super::Usage;

/// How much of their limits the newest runs of a connector used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentUsage {
    /// The number of runs.
    pub runs: u64,
    /// The time at which the event of the oldest run was received.
    pub since: Timestamp,
    /// The usage of some limits, by the config key of the limit.
    pub limits: Vec<(&'static str, Percentiles)>,
}

/// The usage of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of the runs used at most this value.
    pub p50: u64,
    /// 99 of 100 runs used at most this value.
    pub p99: u64,
}

/// The config key of a limit, and the function that reads a run's usage of this limit.
type ShownLimit = (&'static str, fn(&Usage) -> u64);

const SHOWN_LIMITS: [ShownLimit; 4] = [
    ("cpu_ms", |usage| usage.cpu_ms),
    ("memory_bytes", |usage| usage.memory_bytes),
    ("run_ms", |usage| usage.run_ms),
    ("outbound_calls", |usage| usage.outbound_calls),
];

impl RecentUsage {
    /// Computes the percentiles of these runs; `None` if there are no runs.
    #[must_use]
    pub fn of(since: Option<Timestamp>, runs: &[Usage]) -> Option<Self> {
        let of_limit = |(name, value): ShownLimit| {
            Some((name, Percentiles::of_values(runs.iter().map(value).collect())?))
        };
        let limits = SHOWN_LIMITS.into_iter().map(of_limit).collect::<Option<_>>()?;
        Some(Self { runs: runs.len() as u64, since: since?, limits })
    }
}

impl Percentiles {
    fn of_values(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        // The smallest value that this percentage of the runs does not exceed.
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            values.get(rank.saturating_sub(1)).copied()
        };
        Some(Self { p50: at(50)?, p99: at(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_a_hundred_runs_does_not_change_the_percentiles() {
        let runs: Vec<_> = (1..=100).map(|n| Usage { cpu_ms: n * n, ..Usage::default() }).collect();
        let usage = RecentUsage::of(Some(Timestamp::UNIX_EPOCH), &runs).unwrap();
        assert_eq!(usage.limits[0], ("cpu_ms", Percentiles { p50: 2_500, p99: 9_801 }));
        assert_eq!(Percentiles::of_values(vec![7]), Some(Percentiles { p50: 7, p99: 7 }));
        assert_eq!(RecentUsage::of(None, &[]), None);
    }
}
