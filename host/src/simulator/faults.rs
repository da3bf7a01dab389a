//! The faults that the stand-in can simulate. `POST /simulator/faults` changes them at run time.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::domain::{StringEnum as _, nearest, string_enum};

string_enum! {
    /// The name of a fault.
    pub enum FaultName {
        /// The API treats the token of the next request as expired and answers 401.
        ExpiredToken = "expired-token",
        /// The token endpoint answers `invalid_client`.
        WrongCredentials = "wrong-credentials",
        /// The client has only the scope `TM.Projects.Read`. The token endpoint answers a request
        /// for another scope with `invalid_scope`.
        UngrantedScope = "ungranted-scope",
        /// The token endpoint does not answer for ten minutes.
        TokenHangs = "token-hangs",
        /// A token expires after this number of seconds, although the answer with the token says
        /// one hour.
        ClockSkew = "clock-skew",
        /// The API answers 403 with an HTML page, as a firewall does.
        Html403 = "html-403",
        /// The token endpoint answers 403 with an HTML page, as a firewall does.
        TokenHtml403 = "token-html-403",
        /// The API answers 404 to each request whose path names a test execution.
        UnknownExecution = "unknown-execution",
        /// The API answers with logs that have another variation than the failed test of Create
        /// Defect.
        NoVariation = "no-variation",
        /// Each log of an execution exists twice.
        TwoLogs = "two-logs",
        /// The list of the logs of an execution begins with this number of failed logs of other
        /// tests.
        ManyLogs = "many-logs",
        /// Each log has an additional attachment with this number of bytes.
        LargeAttachment = "large-attachment",
        /// The lists of attachments and assertions contain no sizes of files.
        NoFileSizes = "no-file-sizes",
        /// Assertions have screenshots, but a download of a screenshot is answered 404.
        ScreenshotGone = "screenshot-gone",
        /// A download of a screenshot is redirected to another origin, which refuses the token.
        ScreenshotRedirect = "screenshot-redirect",
        /// Each answer of the API and of the token endpoint is delayed by this number of
        /// milliseconds.
        Slow = "slow",
        /// The API answers the next requests with 503. The value is their number.
        ServerErrors = "server-errors",
        /// The API permits this number of requests of each method in each window of time.
        RateLimit = "rate-limit",
        /// The length of the window of time for the rate limits, seconds.
        RateWindow = "rate-window",
    }
}

impl FaultName {
    fn default_and_max_value(self) -> Option<(u64, u64)> {
        match self {
            Self::ClockSkew => Some((2, 3600)),
            Self::ManyLogs => Some((10_000, 100_000)),
            Self::LargeAttachment => Some((200_000_000, 4_000_000_000)),
            Self::Slow => Some((3_000, 600_000)),
            Self::ServerErrors => Some((2, 1_000_000)),
            Self::RateLimit => Some((5, 1_000_000)),
            Self::RateWindow => Some((2, 3600)),
            _ => None,
        }
    }
}

/// A fault and its value. As a text, it is written `slow` or `slow=500`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    name: FaultName,
    value: u64,
}

/// The reason why a text is not a fault.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFault {
    /// No fault has this name.
    #[error("there is no fault {name:?}; did you mean {nearest}? All faults: {all}")]
    Unknown {
        /// The unknown name.
        name: String,
        /// The name of the most similar fault.
        nearest: &'static str,
        /// The names of all faults.
        all: String,
    },
    /// The text contains a value for a fault that has no value.
    #[error("the fault {0} has no value: write `{0}`")]
    HasNoValue(FaultName),
    /// The value is not a number, or is too large.
    #[error("the value of {name} must be a number from 0 to {max}")]
    Value {
        /// The name of the fault.
        name: FaultName,
        /// The largest value.
        max: u64,
    },
}

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let Some(name) = FaultName::parse(name) else { return Err(unknown_fault(name)) };
        let value = match (name.default_and_max_value(), value) {
            (None, None) => 1,
            (None, Some(_)) => return Err(InvalidFault::HasNoValue(name)),
            (Some((default, _)), None) => default,
            (Some((_, max)), Some(value)) => {
                let number = value.parse().ok().filter(|number| *number <= max);
                number.ok_or(InvalidFault::Value { name, max })?
            }
        };
        Ok(Self { name, value })
    }
}

fn unknown_fault(name: &str) -> InvalidFault {
    let all_names = FaultName::ALL.iter().map(|fault| fault.as_str());
    let nearest = nearest(name, all_names.clone()).map_or("", |(nearest, _)| nearest);
    let all = all_names.collect::<Vec<_>>().join(", ");
    InvalidFault::Unknown { name: name.to_owned(), nearest, all }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Faults(BTreeMap<FaultName, u64>);

impl Faults {
    /// If the list contains a fault twice, the later value is used.
    pub(super) fn new(faults: &[Fault]) -> Self {
        Self(faults.iter().map(|fault| (fault.name, fault.value)).collect())
    }

    pub(super) fn is_set(&self, name: FaultName) -> bool {
        self.0.contains_key(&name)
    }

    pub(super) fn value(&self, name: FaultName) -> Option<u64> {
        self.0.get(&name).copied()
    }

    /// Decreases the value of a fault by one, and removes the fault at 0. Returns whether the value
    /// was above 0.
    pub(super) fn use_once(&mut self, name: FaultName) -> bool {
        let Some(uses_left) = self.0.get_mut(&name) else { return false };
        let was_set = *uses_left > 0;
        *uses_left = uses_left.saturating_sub(1);
        if *uses_left == 0 {
            self.0.remove(&name);
        }
        was_set
    }

    /// Returns the faults as they are written on the command line.
    pub(super) fn to_strings(&self) -> Vec<String> {
        let write = |(name, value): (&FaultName, &u64)| match name.default_and_max_value() {
            Some(_) => format!("{name}={value}"),
            None => name.to_string(),
        };
        self.0.iter().map(write).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_written_with_its_value() {
        for (text, written) in [
            ("token-hangs", "token-hangs"),
            ("slow", "slow=3000"),
            ("slow=0", "slow=0"),
            ("many-logs=7", "many-logs=7"),
        ] {
            let fault: Fault = text.parse().expect("a fault");
            assert_eq!(Faults::new(&[fault]).to_strings(), [written]);
        }
    }

    #[test]
    fn an_invalid_fault_is_refused_with_a_correction() {
        for (text, expected) in [
            ("token-hang", "did you mean token-hangs?"),
            ("", "All faults: expired-token, "),
            ("slow=x", "a number from 0 to 600000"),
            ("slow=600001", "a number from 0 to 600000"),
            ("slow=-1", "a number from 0 to 600000"),
            ("two-logs=2", "has no value: write `two-logs`"),
        ] {
            let error = text.parse::<Fault>().expect_err("refused");
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_fault_for_two_requests_ends_after_two_requests() {
        let mut faults = Faults::new(&["server-errors=2".parse().expect("a fault")]);
        let was_set = [1, 2, 3].map(|_| faults.use_once(FaultName::ServerErrors));
        assert_eq!(was_set, [true, true, false]);
        assert!(!faults.is_set(FaultName::ServerErrors));
    }
}
