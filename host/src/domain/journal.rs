//! What left for the tracker: the gate that a write passes, its record, and what follows from it.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Defect, Refusal, Verdict};

/// What a request does to the tracker; the words are the WIT's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Read,
    /// Something that is no defect yet (a login, an upload).
    Prepare,
    /// May make or change a defect.
    Write,
}

impl Effect {
    /// The word in WIT, JSON and CLI.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Prepare => "prepare",
            Self::Write => "write",
        }
    }
}

/// The gate that egress passes with the connection made and before a write's first byte leaves.
/// The store stands behind it; egress knows no more of it than this.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Commits, durably and under the row's fence, that a write is about to leave.
    ///
    /// # Errors
    /// Nothing may be sent: the lease was lost, the row is gone, or the store cannot be written.
    async fn sent(&self) -> Result<(), NotJournalled>;

    /// Takes the last `sent` back: provably not one byte of that write left.
    async fn unsent(&self);
}

/// A write that was refused because it could not be journalled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the write was not let out: {0}")]
pub struct NotJournalled(pub String);

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteAnswer {
    /// Provably not one byte left.
    NotSent,
    /// Answered with this status; the whole answer arrived.
    Status(u16),
    /// It left, and no whole answer came back.
    Broken(String),
}

/// One write of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRecord {
    /// Method, origin and path, for people.
    pub what: String,
    /// What came of it.
    pub answer: WriteAnswer,
    /// When the exchange ended.
    pub ended_at: Timestamp,
}

impl WriteRecord {
    /// Whether the tracker may have acted on it: everything but "not sent" and a 4xx other than 408.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        match self.answer {
            WriteAnswer::NotSent => false,
            WriteAnswer::Status(status) => !(400..500).contains(&status) || status == 408,
            WriteAnswer::Broken(_) => true,
        }
    }
}

/// What a finished `create` run makes of its row: the host's own record decides, the guest's word
/// alone never does. A returned defect is the one thing that the guest is believed.
#[must_use]
pub fn verdict(outcome: Result<Defect, Refusal>, writes: &[WriteRecord]) -> Verdict {
    let refusal = match outcome {
        Ok(defect) => return Verdict::Created(defect),
        Err(refusal) => refusal,
    };
    let doubtful = || writes.iter().filter(|write| write.may_have_acted());
    let (Some(last), Some(ended_at)) =
        (doubtful().next_back(), doubtful().map(|write| write.ended_at).max())
    else {
        return Verdict::Failed(refusal);
    };
    let what = &last.what;
    let came = match &last.answer {
        WriteAnswer::Status(status) => format!("{what} was answered {status}, then {refusal}"),
        WriteAnswer::Broken(why) => format!("{what} left and no whole answer came back: {why}"),
        WriteAnswer::NotSent => refusal.to_string(),
    };
    Verdict::InDoubt { reason: came, write_ended_at: ended_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(answer: WriteAnswer, second: i64) -> WriteRecord {
        let ended_at = Timestamp::from_second(second).unwrap_or_default();
        WriteRecord { what: "POST /issues.json".to_owned(), answer, ended_at }
    }

    fn after(writes: &[WriteRecord]) -> &'static str {
        match verdict(Err(Refusal::Rejected("no".to_owned())), writes) {
            Verdict::Created(_) => "created",
            Verdict::Failed(_) => "failed",
            Verdict::InDoubt { .. } => "in-doubt",
            Verdict::Unchanged => "unchanged",
        }
    }

    #[test]
    fn only_a_write_that_provably_did_nothing_fails_the_row() {
        assert_eq!(after(&[]), "failed");
        assert_eq!(after(&[write(WriteAnswer::NotSent, 1)]), "failed");
        for status in [400, 401, 404, 409, 422, 429] {
            assert_eq!(after(&[write(WriteAnswer::Status(status), 1)]), "failed", "{status}");
        }
        for status in [200, 201, 302, 408, 500, 502, 503, 504] {
            assert_eq!(after(&[write(WriteAnswer::Status(status), 1)]), "in-doubt", "{status}");
        }
        assert_eq!(after(&[write(WriteAnswer::Broken("reset".to_owned()), 1)]), "in-doubt");
    }

    #[test]
    fn doubt_lasts_from_the_end_of_the_last_doubtful_write() {
        let writes = [
            write(WriteAnswer::Status(502), 9),
            write(WriteAnswer::Status(500), 5),
            write(WriteAnswer::Status(422), 20),
        ];
        let Verdict::InDoubt { write_ended_at, .. } = verdict(Err(Refusal::HostFull), &writes)
        else {
            unreachable!("a 5xx leaves doubt")
        };
        assert_eq!(write_ended_at.as_second(), 9);
    }
}
