//! Test Manager's rate limit, read from its answers: `RateLimit-Remaining`, `RateLimit-Reset`,
//! `Retry-After` and the status 429.
//!
//! This module never waits and never sends a request.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Maximum wait for the reset of the limit. If an answer requests a longer wait, the wait is
/// shortened to this time.
const WAIT_MAX: Duration = Duration::from_secs(900);
/// The wait after an answer 429 that contains no valid wait time.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);

/// The rate limit of one connection.
#[derive(Default)]
pub(super) struct RateLimit {
    /// No request may be sent before this time; `None` if the limit was never reached.
    closed_until: Mutex<Option<Instant>>,
}

impl RateLimit {
    /// Returns the time at which the next request may be sent; `None` if a request may be sent now.
    pub(super) fn next_request_at(&self, now: Instant) -> Option<Instant> {
        let closed_until = *self.closed_until.lock();
        closed_until.filter(|until| *until > now)
    }

    pub(super) fn update(&self, status: u16, headers: &[(String, String)], now: Instant) {
        let seconds = |name: &str| header_number(headers, name).map(Duration::from_secs);
        let wait = if status == 429 {
            let wait = seconds("retry-after").or_else(|| seconds("ratelimit-reset"));
            wait.unwrap_or(DEFAULT_WAIT)
        } else if header_number(headers, "ratelimit-remaining") == Some(0) {
            seconds("ratelimit-reset").unwrap_or_default()
        } else {
            return;
        };
        let until = now + wait.min(WAIT_MAX);
        let mut closed_until = self.closed_until.lock();
        // Answers may arrive out of order, so the latest end of a wait is kept.
        *closed_until = (*closed_until).max(Some(until));
    }
}

/// Reads the number at the beginning of a header, because some servers write `0;w=300`.
fn header_number(headers: &[(String, String)], name: &str) -> Option<u64> {
    let (_, value) = headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
    let digits = value.trim();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_seconds(status: u16, headers: &[(&str, &str)]) -> Option<u64> {
        let (limit, now) = (RateLimit::default(), Instant::now());
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers: Vec<_> = headers.iter().map(owned).collect();
        limit.update(status, &headers, now);
        limit.next_request_at(now).map(|until| (until - now).as_secs())
    }

    #[test]
    fn an_answer_sets_the_wait() {
        let reset = ("ratelimit-reset", "12");
        for (status, headers, wait) in [
            (200, vec![], None),
            (200, vec![("ratelimit-remaining", "1"), reset], None),
            (200, vec![("ratelimit-remaining", "0"), reset], Some(12)),
            (200, vec![("RateLimit-Remaining", " 0;w=300"), reset], Some(12)),
            (200, vec![("ratelimit-remaining", "0")], None),
            (429, vec![], Some(5)),
            (429, vec![reset], Some(12)),
            (429, vec![("retry-after", "3"), reset], Some(3)),
            (429, vec![("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), reset], Some(12)),
            (429, vec![("ratelimit-reset", "99999999999999999999")], Some(5)),
            (429, vec![("ratelimit-reset", "99999999999")], Some(900)),
        ] {
            assert_eq!(wait_seconds(status, &headers), wait, "{status} {headers:?}");
        }
    }

    #[test]
    fn the_longest_wait_is_kept() {
        let (limit, now) = (RateLimit::default(), Instant::now());
        limit.update(429, &[("retry-after".to_owned(), "9".to_owned())], now);
        limit.update(429, &[("retry-after".to_owned(), "2".to_owned())], now);
        assert_eq!(limit.next_request_at(now), Some(now + Duration::from_secs(9)));
        assert_eq!(limit.next_request_at(now + Duration::from_secs(9)), None);
    }
}
