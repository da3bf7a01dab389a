//! The journal of writes: what a write must pass before it is sent, its record, and what follows from it.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Defect, Refusal, Verdict, words};

words! {
    /// What a request does to the tracker.
    pub enum Effect {
        /// Nothing.
        Read = "read",
        /// Something that is not a defect yet (a login, an upload).
        Prepare = "prepare",
        /// May create or change a defect.
        Write = "write",
    }
}

/// What egress calls once the connection is made and before a write's first byte leaves. Behind it is the
/// store, which egress does not know.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Commits, durably and under the row's fence, that a write is about to be sent.
    ///
    /// # Errors
    /// Nothing may be sent: the lease was lost, the row is gone, or the store cannot be written.
    async fn mark_sending(&self) -> Result<(), NotJournaled>;

    /// Undoes the last [`Self::mark_sending`]: provably not one byte of that write left.
    async fn unmark(&self);
}

/// A write that was refused because it could not be journaled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the write was not sent, because it could not be journaled: {0}")]
pub struct NotJournaled(pub String);

/// What a write came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteAnswer {
    /// Provably not one byte left.
    NotSent,
    /// Answered with this status; the answer is complete.
    Status(u16),
    /// It left, and no complete answer came back.
    Broken(String),
}

/// One write of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRecord {
    /// Method, origin and path, for people.
    pub what: String,
    /// What it came to.
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

/// How the row of a finished `create` run moves. The host's own record of writes decides, never the guest's
/// error alone; only a returned defect is taken from the guest.
#[must_use]
pub fn verdict(outcome: Result<Defect, Refusal>, writes: &[WriteRecord]) -> Verdict {
    let refusal = match outcome {
        Ok(defect) => return Verdict::Created(defect),
        Err(refusal) => refusal,
    };
    let may_have_acted = || writes.iter().filter(|write| write.may_have_acted());
    let (Some(last), Some(ended_at)) =
        (may_have_acted().next_back(), may_have_acted().map(|write| write.ended_at).max())
    else {
        return Verdict::Failed(refusal);
    };
    let what = &last.what;
    let reason = match &last.answer {
        WriteAnswer::Status(status) => format!("{what} was answered {status}, then {refusal}"),
        WriteAnswer::Broken(why) => {
            format!("{what} was sent and no complete answer came back: {why}")
        }
        WriteAnswer::NotSent => refusal.to_string(),
    };
    Verdict::InDoubt { reason, write_ended_at: ended_at }
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
    fn the_doubt_begins_at_the_end_of_the_last_write_that_may_have_acted() {
        let writes = [
            write(WriteAnswer::Status(502), 9),
            write(WriteAnswer::Status(500), 5),
            write(WriteAnswer::Status(422), 20),
        ];
        let Verdict::InDoubt { write_ended_at, .. } = verdict(Err(Refusal::Overloaded), &writes)
        else {
            unreachable!("after a 5xx the defect is in doubt")
        };
        assert_eq!(write_ended_at.as_second(), 9);
    }
}
