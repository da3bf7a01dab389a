//! The journal of writes: a write is marked in the store before its first byte is sent. The rules
//! in this file decide what the answer to a write proves. This file never sends a request.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{ConnectorFault, Defect, Marker, NotCreated, Refusal, SentWrites, string_enum};

string_enum! {
    /// The effect that a request may have in the tracker.
    pub enum Effect {
        /// The request changes nothing in the tracker.
        Read = "read",
        /// The request changes something but creates no defect, for example a login or an upload.
        Prepare = "prepare",
        /// The request may create or change a defect.
        Write = "write",
    }
}

string_enum! {
    /// The class of a sent write of a run without a defect. The later the class in this order, the
    /// more likely is a defect in the tracker that the run did not return.
    pub enum WriteClass {
        /// The tracker refused the write and created nothing.
        Refused = "refused",
        /// The answer shows neither that a defect was created nor that none was created.
        Unclear = "unclear",
        /// No complete answer arrived, the tracker may still carry out the request, or the guest
        /// failed or was stopped after an answer with 2xx other than 201.
        Open = "open",
        /// The tracker answered that it created something.
        Acknowledged = "acknowledged",
    }
}

/// The journal of one run. It is a trait, because egress calls it and does not import the store.
#[async_trait]
pub trait Journal: Send + Sync {
    /// The marker that a write should contain, so that the created defect can be found again.
    fn marker(&self) -> &Marker;

    /// Stores durably that a write is about to be sent.
    ///
    /// # Errors
    /// The write must not be sent: the lease was lost, the row was deleted, or the store cannot be
    /// written.
    async fn mark_sending(&self, has_marker: bool) -> Result<(), NotJournaled>;

    /// Whether the lease that the last [`Self::mark_sending`] renewed is still valid. Call this
    /// directly before the first byte is sent. The check uses a clock that also advances while the
    /// process is stopped.
    fn may_send(&self) -> bool;

    /// Undoes the last [`Self::mark_sending`]. Call this only if it is certain that the tracker did
    /// not process that write.
    async fn unmark(&self);
}

/// Whether the first write of a run contains the marker.
#[derive(Debug, Default)]
pub struct FirstWrite {
    has_marker: bool,
    marked_writes: u32,
}

impl FirstWrite {
    /// Records that a write was marked as sent.
    pub fn mark(&mut self, has_marker: bool) {
        if self.marked_writes == 0 {
            self.has_marker = has_marker;
        }
        self.marked_writes = self.marked_writes.saturating_add(1);
    }

    /// Records that the last mark was undone.
    pub fn unmark(&mut self) {
        self.marked_writes = self.marked_writes.saturating_sub(1);
    }

    /// Returns a warning if the first write does not contain the marker.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (self.marked_writes > 0 && !self.has_marker).then(|| {
            "the first write does not contain the marker, so a search cannot find a defect in doubt"
                .to_owned()
        })
    }
}

/// The reason why a write could not be journaled, so that it was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the write was not sent, because it could not be journaled: {0}")]
pub struct NotJournaled(pub String);

/// The result of a write, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteAnswer {
    /// It is certain that the tracker did not process the write: no byte was sent, or the tracker
    /// refused the HTTP/2 stream.
    NotSent,
    /// The tracker, or a proxy that refused the write, answered with this status. The answer is
    /// complete, or its status alone proves a refusal.
    Status(u16),
    /// The write may have been sent, and no complete answer has arrived; the text is the reason.
    Broken(String),
}

/// The record of one write of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRecord {
    /// The method, the origin and the path of the write, for people.
    pub request_line: String,
    /// The result of the write.
    pub answer: WriteAnswer,
    /// The time when `answer` was set last: the end of the exchange, once it has ended.
    pub ended_at: Timestamp,
}

impl WriteAnswer {
    /// Whether an answer with this status proves that nothing was created, even if the rest of the
    /// answer is missing.
    #[must_use]
    pub fn is_refusal(status: u16) -> bool {
        matches!(status, 400 | 401 | 405 | 407 | 411 | 413 | 414 | 415 | 422 | 429 | 431)
    }

    /// Whether the tracker answered that the request succeeded.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Status(200..=299))
    }

    /// Returns the class of the write of a failed run; `None` if it is certain that the tracker did
    /// not process it. `guest_failed`: the connector had a fault, or the run was stopped.
    fn class(&self, guest_failed: bool) -> Option<WriteClass> {
        Some(match self {
            Self::NotSent => return None,
            Self::Status(status) if Self::is_refusal(*status) => WriteClass::Refused,
            Self::Status(201) => WriteClass::Acknowledged,
            Self::Status(202 | 408) | Self::Broken(_) => WriteClass::Open,
            Self::Status(200..=299) if guest_failed => WriteClass::Open,
            Self::Status(200..=499) => WriteClass::Unclear,
            Self::Status(_) => WriteClass::Open,
        })
    }
}

impl WriteRecord {
    /// Whether the write was sent: the tracker refused it or may have processed it.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        self.answer != WriteAnswer::NotSent
    }
}

/// Decides whether a finished run of `create` has created the defect. A returned defect is accepted
/// only if [`confirmed_or_nothing_sent`] is true for the writes that the host recorded.
///
/// # Errors
/// The run has not created a defect, or this is not certain.
pub fn verdict(
    outcome: Result<Defect, Refusal>,
    writes: &[WriteRecord],
) -> Result<Defect, NotCreated> {
    let refusal = match outcome {
        Ok(defect) if confirmed_or_nothing_sent(writes) => return Ok(defect),
        Ok(defect) => Refusal::ConnectorFault(ConnectorFault::Contract(format!(
            "it returned the defect {:?}, but the tracker confirmed no write",
            defect.key
        ))),
        Err(refusal) => refusal,
    };
    let sent = sent_writes(&refusal, writes);
    Err(NotCreated { refusal, sent })
}

/// Returns true if no write was sent, or if the tracker answered at least one write with 2xx or
/// 3xx.
#[must_use]
pub fn confirmed_or_nothing_sent(writes: &[WriteRecord]) -> bool {
    let mut sent = writes.iter().filter(|write| write.was_sent()).peekable();
    let confirms = |write: &WriteRecord| matches!(write.answer, WriteAnswer::Status(200..=399));
    sent.peek().is_none() || sent.any(confirms)
}

/// Summarises the writes of a run that ended with this refusal; `None` if no write was sent.
#[must_use]
pub fn sent_writes(refusal: &Refusal, writes: &[WriteRecord]) -> Option<SentWrites> {
    let sent: Vec<_> = writes.iter().filter(|write| write.was_sent()).collect();
    let guest_failed =
        matches!(refusal, Refusal::ConnectorFault(_) | Refusal::RunStopped | Refusal::ShuttingDown);
    let classed = sent.iter().filter_map(|write| Some((write.answer.class(guest_failed)?, *write)));
    let (class, worst) = classed.max_by_key(|(class, _)| *class)?;
    let reason = match &worst.answer {
        WriteAnswer::Status(status) => format!("{} was answered {status}", worst.request_line),
        WriteAnswer::Broken(why) => {
            format!("{} was sent and no complete answer came back: {why}", worst.request_line)
        }
        WriteAnswer::NotSent => String::new(),
    };
    let ended_at = sent.iter().map(|write| write.ended_at).max()?;
    let forbidden = sent.iter().any(|write| write.answer == WriteAnswer::Status(403));
    Some(SentWrites { class, forbidden, ended_at, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_record(answer: WriteAnswer, second: i64) -> WriteRecord {
        let ended_at = Timestamp::from_second(second).unwrap_or_default();
        WriteRecord { request_line: "POST /issues.json".to_owned(), answer, ended_at }
    }

    fn defect() -> Defect {
        Defect {
            key: "1".to_owned(),
            title: String::new(),
            link: "https://t.example/1".to_owned(),
            status: None,
            priority: None,
            description: None,
        }
    }

    fn sent_after(outcome: Result<Defect, Refusal>, writes: &[WriteRecord]) -> Option<SentWrites> {
        verdict(outcome, writes).expect_err("the verdict is `created`").sent
    }

    fn class_of(answer: WriteAnswer, refusal: Refusal) -> Option<WriteClass> {
        sent_after(Err(refusal), &[write_record(answer, 1)]).map(|sent| sent.class)
    }

    #[test]
    fn the_status_of_the_answer_decides_the_class_of_a_write() {
        let after =
            |status| class_of(WriteAnswer::Status(status), Refusal::Rejected(String::new().into()));
        for status in [400, 401, 405, 407, 411, 413, 414, 415, 422, 429, 431] {
            assert_eq!(after(status), Some(WriteClass::Refused), "{status}");
        }
        for status in [200, 203, 204, 301, 302, 307, 308, 402, 403, 404, 406, 409, 410, 423, 451] {
            assert_eq!(after(status), Some(WriteClass::Unclear), "{status}");
        }
        for status in [202, 408, 500, 502, 503, 504, 599, 600, 999] {
            assert_eq!(after(status), Some(WriteClass::Open), "{status}");
        }
        assert_eq!(after(201), Some(WriteClass::Acknowledged));
        let broken = WriteAnswer::Broken("reset".to_owned());
        assert_eq!(class_of(broken, Refusal::Overloaded), Some(WriteClass::Open));
        assert_eq!(class_of(WriteAnswer::NotSent, Refusal::Overloaded), None);
    }

    #[test]
    fn a_write_that_was_answered_with_200_is_open_if_the_guest_fails_afterwards() {
        let trap = || Refusal::ConnectorFault(ConnectorFault::Trap("unreachable".to_owned()));
        let after = |status| class_of(WriteAnswer::Status(status), trap());
        assert_eq!(after(200), Some(WriteClass::Open));
        assert_eq!(after(404), Some(WriteClass::Unclear));
        assert_eq!(after(201), Some(WriteClass::Acknowledged));
        for stopped in [Refusal::RunStopped, Refusal::ShuttingDown] {
            assert_eq!(class_of(WriteAnswer::Status(203), stopped), Some(WriteClass::Open));
        }
    }

    #[test]
    fn a_returned_defect_is_accepted_only_if_a_write_was_confirmed_or_no_write_was_sent() {
        for confirmed in [200, 201, 203, 302] {
            let writes = [write_record(WriteAnswer::Status(confirmed), 1)];
            assert_eq!(verdict(Ok(defect()), &writes), Ok(defect()), "{confirmed}");
        }
        assert_eq!(verdict(Ok(defect()), &[]), Ok(defect()));
        for status in [404, 422, 500] {
            let sent = sent_after(Ok(defect()), &[write_record(WriteAnswer::Status(status), 1)]);
            assert!(sent.is_some(), "{status}");
        }
    }

    #[test]
    fn the_warning_depends_on_the_first_write_whose_mark_was_not_undone() {
        let mut first = FirstWrite::default();
        assert_eq!(first.warning(), None);
        first.mark(false);
        assert!(first.warning().is_some());
        first.unmark();
        assert_eq!(first.warning(), None);
        first.mark(true);
        first.mark(false);
        first.unmark();
        assert_eq!(first.warning(), None);
    }

    #[test]
    fn the_summary_has_the_class_of_the_worst_write_and_the_end_of_the_last_write() {
        let writes = [
            write_record(WriteAnswer::Status(500), 9),
            write_record(WriteAnswer::Status(403), 5),
            write_record(WriteAnswer::Status(422), 20),
        ];
        let sent = sent_after(Err(Refusal::Overloaded), &writes).unwrap();
        assert_eq!((sent.class, sent.ended_at.as_second()), (WriteClass::Open, 20));
        assert!(sent.forbidden && sent.reason.contains("500"), "{sent:?}");
    }
}
