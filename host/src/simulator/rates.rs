//! The published limits on requests of each method within five minutes. All clients of the stand-in
//! count as one address.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Test Manager's limits for an address, by method.
const LIMITS: [(&str, u64); 6] =
    [("GET", 1200), ("POST", 750), ("PATCH", 200), ("PUT", 300), ("OPTIONS", 50), ("DELETE", 300)];
const WINDOW_S: u64 = 300;

/// The requests that were counted in the current window.
#[derive(Debug, Default)]
pub(super) struct Rates {
    began: Option<Instant>,
    counts: BTreeMap<&'static str, u64>,
}

/// The values of the rate headers when a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exceeded {
    pub(super) limit: u64,
    pub(super) window_s: u64,
    pub(super) reset_s: u64,
}

impl Rates {
    /// Counts one request. `limit` and `window_s` replace the published values.
    pub(super) fn count(
        &mut self,
        method: &str,
        now: Instant,
        limit: Option<u64>,
        window_s: Option<u64>,
    ) -> Result<(), Exceeded> {
        let window_s = window_s.unwrap_or(WINDOW_S);
        let window = Duration::from_secs(window_s);
        let began = self.began.filter(|began| now.duration_since(*began) < window).unwrap_or(now);
        if self.began != Some(began) {
            self.began = Some(began);
            self.counts.clear();
        }
        let Some((method, published)) = LIMITS.iter().find(|(known, _)| *known == method) else {
            return Ok(());
        };
        let limit = limit.unwrap_or(*published);
        let count = self.counts.entry(method).or_default();
        if *count >= limit {
            let left = window.saturating_sub(now.duration_since(began));
            return Err(Exceeded { limit, window_s, reset_s: left.as_secs() + 1 });
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
        let (mut rates, start) = (Rates::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..1200 {
            assert_eq!(rates.count("GET", start, None, None), Ok(()));
        }
        let refused = Err(Exceeded { limit: 1200, window_s: 300, reset_s: 201 });
        assert_eq!(rates.count("GET", at(100), None, None), refused);
        assert_eq!(rates.count("POST", at(100), None, None), Ok(()));
        assert_eq!(rates.count("GET", at(300), None, None), Ok(()));
    }

    #[test]
    fn a_fault_replaces_limit_and_window() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        assert_eq!(rates.count("GET", now, Some(1), Some(2)), Ok(()));
        let refused = Err(Exceeded { limit: 1, window_s: 2, reset_s: 3 });
        assert_eq!(rates.count("GET", now, Some(1), Some(2)), refused);
    }
}
