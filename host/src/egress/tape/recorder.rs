//! Keeps each exchange of a run: in the files of a folder, or in memory for the event of the run.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::domain::{RECORDED_BODY_BYTES_MAX, RECORDED_EVENT_BYTES_MAX, records};
use crate::memory::Charge;

use super::super::RunRequests;
use super::folder::{self, EXCHANGES_MAX};
use super::{NotUsable, TapeError, TapedEnd, TapedRequest};

/// Keeps exchanges.
pub struct Recorder {
    state: Mutex<State>,
}

enum Place {
    Folder(PathBuf),
    /// Until this instant, within the limits of a stored recording.
    Memory(Timestamp),
}

struct State {
    place: Place,
    kept: usize,
    /// The texts of the exchanges; only in memory.
    texts: Vec<String>,
    bytes: u64,
    charges: Vec<Charge>,
    /// Why the first exchange was not kept that is missing.
    failure: Option<TapeError>,
}

impl Recorder {
    /// Creates the folder, which must not have recorded exchanges.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn create(folder: &Path) -> Result<Self, NotUsable> {
        folder::create(folder)?;
        Ok(Self::at(Place::Folder(folder.to_owned())))
    }

    /// Writes what follows to another folder, which must not have recorded exchanges.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn begin(&self, folder: &Path) -> Result<(), NotUsable> {
        folder::create(folder)?;
        *self.state.lock() = State::at(Place::Folder(folder.to_owned()));
        Ok(())
    }

    fn at(place: Place) -> Self {
        Self { state: Mutex::new(State::at(place)) }
    }

    /// A recorder in memory, for one run of a connection that records until then.
    pub(in super::super) fn until(until: Timestamp) -> Self {
        Self::at(Place::Memory(until))
    }

    /// How many exchanges were written.
    ///
    /// # Errors
    /// Why the recording is not complete.
    pub fn end(&self) -> Result<usize, TapeError> {
        let state = self.state.lock();
        state.failure.clone().map_or(Ok(state.kept), Err)
    }

    /// Takes the exchanges out of memory, with the reason why some are missing; `None` if they are
    /// kept in a folder.
    pub(in super::super) fn take(&self) -> Option<(Vec<String>, Option<String>)> {
        let mut state = self.state.lock();
        if matches!(state.place, Place::Folder(_)) {
            return None;
        }
        state.charges.clear();
        let missing = state.failure.take().map(|why| why.to_string());
        Some((std::mem::take(&mut state.texts), missing))
    }

    /// Whether exchanges are kept at this time.
    pub(super) fn is_on(&self, now: Timestamp) -> bool {
        match &self.state.lock().place {
            Place::Folder(_) => true,
            Place::Memory(until) => records(Some(*until), now),
        }
    }

    /// The size of a body, if it is too large to be kept.
    pub(super) fn over_limit(&self, bytes: u64) -> Option<u64> {
        let in_memory = matches!(self.state.lock().place, Place::Memory(_));
        let is_over = in_memory && bytes > RECORDED_BODY_BYTES_MAX;
        is_over.then_some(bytes)
    }

    /// Keeps an exchange. A failure does not change the run, because the tracker has answered.
    pub(super) fn keep(&self, session: &RunRequests, request: TapedRequest, end: TapedEnd) {
        let mut state = self.state.lock();
        let what = format!("{} {}", request.method, request.url);
        let text = folder::text_of(request, end);
        let kept = match &state.place {
            Place::Folder(folder) => folder::write(folder, state.kept + 1, &text)
                .map_err(|error| TapeError(error.to_string())),
            Place::Memory(_) => state.hold(session, text),
        };
        match kept {
            Ok(()) => state.kept += 1,
            Err(why) => state.fail(&what, &why),
        }
    }

    /// Notes that an exchange is missing.
    pub(super) fn leave_out(&self, what: &str, why: &TapeError) {
        self.state.lock().fail(what, why);
    }
}

impl State {
    fn at(place: Place) -> Self {
        let (kept, texts, bytes, charges, failure) = Default::default();
        Self { place, kept, texts, bytes, charges, failure }
    }

    fn hold(&mut self, session: &RunRequests, text: String) -> Result<(), TapeError> {
        let bytes = self.bytes + text.len() as u64;
        if bytes > RECORDED_EVENT_BYTES_MAX || self.kept >= EXCHANGES_MAX {
            let why = format!(
                "the recording has more than {RECORDED_EVENT_BYTES_MAX} bytes or {EXCHANGES_MAX} \
                 exchanges"
            );
            return Err(TapeError(why));
        }
        let charge = session.memory.charge(text.len() as u64);
        self.charges.push(charge.map_err(|error| TapeError(error.to_string()))?);
        self.texts.push(text);
        self.bytes = bytes;
        Ok(())
    }

    fn fail(&mut self, what: &str, why: &TapeError) {
        let why = format!("{what} could not be recorded: {why}");
        self.failure.get_or_insert(TapeError(why));
    }
}
