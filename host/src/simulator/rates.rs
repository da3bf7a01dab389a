//! Applies the rate limits that UiPath publishes for Test Manager. The real limits apply to each
//! client address. The stand-in treats all its clients as one address.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The method, and the number of requests in a window.
const PUBLISHED_LIMITS: [(&str, u64); 6] =
    [("GET", 1200), ("POST", 750), ("PATCH", 200), ("PUT", 300), ("OPTIONS", 50), ("DELETE", 300)];
/// The published length of a window, seconds.
const PUBLISHED_WINDOW_S: u64 = 300;

/// The numbers of requests in the current window.
#[derive(Debug, Default)]
pub(super) struct RateCounters {
    /// `None` before the first request.
    window_start: Option<Instant>,
    /// By method.
    counts: BTreeMap<&'static str, u64>,
}

/// The values of the rate-limit headers in a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RateExceeded {
    /// The permitted number of requests in a window.
    pub(super) limit: u64,
    pub(super) window_s: u64,
    /// The time after which the window has ended, seconds.
    pub(super) reset_s: u64,
}

impl RateCounters {
    /// Counts a request, or refuses it. `limit` and `window_s` replace the published values.
    pub(super) fn count_request(
        &mut self,
        method: &str,
        now: Instant,
        limit: Option<u64>,
        window_s: Option<u64>,
    ) -> Result<(), RateExceeded> {
        let window_s = window_s.unwrap_or(PUBLISHED_WINDOW_S);
        let window = Duration::from_secs(window_s);
        let start = self.window_start.filter(|start| now.duration_since(*start) < window);
        let start = start.unwrap_or(now);
        if self.window_start != Some(start) {
            self.window_start = Some(start);
            self.counts.clear();
        }
        let Some((method, published)) = PUBLISHED_LIMITS.iter().find(|(name, _)| *name == method)
        else {
            return Ok(());
        };
        let limit = limit.unwrap_or(*published);
        let count = self.counts.entry(method).or_default();
        if *count >= limit {
            let left = window.saturating_sub(now.duration_since(start));
            return Err(RateExceeded { limit, window_s, reset_s: left.as_secs() + 1 });
        }
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_has_its_limit_until_the_window_ends() {
        let (mut rates, start) = (RateCounters::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..1200 {
            assert_eq!(rates.count_request("GET", start, None, None), Ok(()));
        }
        let refused = Err(RateExceeded { limit: 1200, window_s: 300, reset_s: 201 });
        assert_eq!(rates.count_request("GET", at(100), None, None), refused);
        assert_eq!(rates.count_request("POST", at(100), None, None), Ok(()));
        assert_eq!(rates.count_request("GET", at(300), None, None), Ok(()));
    }

    #[test]
    fn a_fault_replaces_the_published_limit_and_window() {
        let (mut rates, now) = (RateCounters::default(), Instant::now());
        assert_eq!(rates.count_request("GET", now, Some(1), Some(2)), Ok(()));
        let refused = Err(RateExceeded { limit: 1, window_s: 2, reset_s: 3 });
        assert_eq!(rates.count_request("GET", now, Some(1), Some(2)), refused);
    }
}
