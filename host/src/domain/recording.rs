//! Recordings: the requests and answers of a run with their bodies. This file never stores a
//! recording.

use jiff::{SignedDuration, Timestamp};

use serde_json::Value;

use super::{Call, Settings, string_enum};

/// Maximum time for which recording can be switched on, seconds.
pub const RECORD_S_MAX: u32 = 24 * 60 * 60;
/// Maximum size of a recorded body, bytes.
pub const RECORDED_BODY_BYTES_MAX: u64 = 256 << 10;
/// Maximum size of the recorded exchanges of one run, bytes.
pub const RECORDED_RUN_BYTES_MAX: u64 = 2 << 20;
/// Maximum size of all stored recordings together, bytes.
pub const RECORDINGS_BYTES_MAX: u64 = 256 << 20;

/// The recording of one run, without secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunRecording {
    /// The input of the export: the connection's settings and the arguments of the call.
    pub input: Settings,
    /// The HTTP exchanges in order, each as a JSON text (`ExchangeFile` in
    /// `egress/tape/folder.rs`).
    pub exchanges: Vec<String>,
    /// The value that the export returned, or the reason why the export returned no value. Absent
    /// in recordings of earlier versions of Jackfield.
    pub answer: Option<Value>,
    /// The reason why exchanges are missing; absent if none is missing.
    pub missing: Option<String>,
}

impl RunRecording {
    /// The size of the recording, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts: usize = self.exchanges.iter().map(String::len).sum();
        let input = serde_json::to_vec(&self.input).map_or(0, |json| json.len());
        let answer = self.answer.as_ref().map_or(0, |json| json.to_string().len());
        input + texts + answer + self.missing.as_ref().map_or(0, String::len)
    }
}

/// A stored recording with the export that was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRun {
    /// The export that was called.
    pub call: Call,
    /// The recorded input, requests and answers.
    pub recording: RunRecording,
}

string_enum! {
    /// Whether and how a recorded request and a request of a replay differ.
    pub enum Difference {
        /// Both runs made the same request.
        Same = "same",
        /// Both runs made the request, but query, headers or body differ.
        Changed = "changed",
        /// Only the replay made the request.
        Added = "added",
        /// Only the recorded run made the request.
        Missing = "missing",
    }
}

/// Whether a connection records now, if its recording ends at `until`. Returns false if `until` is
/// more than [`RECORD_S_MAX`] seconds after `now`, because the clock was then set back.
#[must_use]
pub fn is_recording(until: Option<Timestamp>, now: Timestamp) -> bool {
    let longest = SignedDuration::from_secs(RECORD_S_MAX.into());
    until.is_some_and(|until| now < until && until.duration_since(now) <= longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_recorded_after_the_end_or_after_the_clock_was_set_back() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let until = Some(at(1_000_000));
        assert!(is_recording(until, at(999_999)) && is_recording(until, at(1_000_000 - 86_400)));
        assert!(
            !is_recording(until, at(1_000_000)) && !is_recording(until, at(1_000_000 - 86_401))
        );
        assert!(!is_recording(None, at(0)));
    }
}
