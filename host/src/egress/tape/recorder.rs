//! Stores the recorded exchanges of a run: in the files of a folder, or in memory for the event of
//! the run. Never makes an exchange, and never redacts.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::domain::{RECORDED_BODY_BYTES_MAX, RECORDED_RUN_BYTES_MAX, is_recording};
use crate::memory::Charge;

use super::super::RunRequests;
use super::folder::{self, EXCHANGES_MAX};
use super::{RecordingError, TapeError, TapedOutcome, TapedRequest};

/// Records exchanges in a folder or in memory.
pub struct Recorder {
    state: Mutex<RecorderState>,
}

enum Destination {
    Folder(PathBuf),
    /// Exchanges are recorded in memory until this time.
    Memory(Timestamp),
}

struct RecorderState {
    destination: Destination,
    exchange_count: usize,
    /// The JSON texts of the exchanges, if they are recorded in memory.
    texts: Vec<String>,
    bytes: u64,
    charges: Vec<Charge>,
    /// The reason why the first missing exchange was not recorded.
    failure: Option<TapeError>,
}

impl Recorder {
    /// Creates a recorder for a folder. Creates the folder if it is missing.
    ///
    /// # Errors
    /// The folder cannot be used, or it has recorded exchanges.
    pub fn create(folder: &Path) -> Result<Self, RecordingError> {
        folder::create_folder(folder)?;
        Ok(Self::with_destination(Destination::Folder(folder.to_owned())))
    }

    /// Writes all following exchanges to another folder, which must not have recorded exchanges.
    /// The count of exchanges begins at 0 again.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn change_folder(&self, folder: &Path) -> Result<(), RecordingError> {
        folder::create_folder(folder)?;
        *self.state.lock() =
            RecorderState::with_destination(Destination::Folder(folder.to_owned()));
        Ok(())
    }

    fn with_destination(destination: Destination) -> Self {
        Self { state: Mutex::new(RecorderState::with_destination(destination)) }
    }

    pub(in super::super) fn in_memory_until(until: Timestamp) -> Self {
        Self::with_destination(Destination::Memory(until))
    }

    /// Returns how many exchanges were recorded.
    ///
    /// # Errors
    /// The recording is not complete. The error states the reason.
    pub fn exchange_count(&self) -> Result<usize, TapeError> {
        let state = self.state.lock();
        state.failure.clone().map_or(Ok(state.exchange_count), Err)
    }

    /// Removes the exchanges from memory and returns them. If exchanges are missing, also returns
    /// the reason. Returns `None` if the exchanges are recorded in a folder.
    pub(in super::super) fn take_exchanges(&self) -> Option<(Vec<String>, Option<String>)> {
        let mut state = self.state.lock();
        if matches!(state.destination, Destination::Folder(_)) {
            return None;
        }
        state.charges.clear();
        let missing = state.failure.take().map(|why| why.to_string());
        Some((std::mem::take(&mut state.texts), missing))
    }

    pub(super) fn is_recording_at(&self, now: Timestamp) -> bool {
        match &self.state.lock().destination {
            Destination::Folder(_) => true,
            Destination::Memory(until) => is_recording(Some(*until), now),
        }
    }

    /// Only a recording in memory limits the size of a body.
    pub(super) fn size_if_too_large(&self, bytes: u64) -> Option<u64> {
        let in_memory = matches!(self.state.lock().destination, Destination::Memory(_));
        let is_over = in_memory && bytes > RECORDED_BODY_BYTES_MAX;
        is_over.then_some(bytes)
    }

    /// Records an exchange. If the exchange cannot be recorded, the run goes on, because the
    /// exchange has already ended.
    pub(super) fn record(
        &self,
        requests: &RunRequests,
        request: TapedRequest,
        outcome: TapedOutcome,
    ) {
        let mut state = self.state.lock();
        let request_line = format!("{} {}", request.method, request.url);
        let text = folder::exchange_text(request, outcome);
        let result = match &state.destination {
            Destination::Folder(folder) => {
                folder::write_exchange(folder, state.exchange_count + 1, &text)
                    .map_err(|error| TapeError(error.to_string()))
            }
            Destination::Memory(_) => state.record_in_memory(requests, text),
        };
        match result {
            Ok(()) => state.exchange_count += 1,
            Err(why) => state.add_failure(&request_line, &why),
        }
    }

    pub(super) fn record_missing(&self, request_line: &str, why: &TapeError) {
        self.state.lock().add_failure(request_line, why);
    }
}

impl RecorderState {
    fn with_destination(destination: Destination) -> Self {
        let (exchange_count, texts, bytes, charges, failure) = Default::default();
        Self { destination, exchange_count, texts, bytes, charges, failure }
    }

    fn record_in_memory(&mut self, requests: &RunRequests, text: String) -> Result<(), TapeError> {
        let bytes = self.bytes + text.len() as u64;
        if bytes > RECORDED_RUN_BYTES_MAX || self.exchange_count >= EXCHANGES_MAX {
            let why = format!(
                "the recording would have more than {RECORDED_RUN_BYTES_MAX} bytes or \
                 {EXCHANGES_MAX} exchanges"
            );
            return Err(TapeError(why));
        }
        let charge = requests.memory.charge(text.len() as u64);
        self.charges.push(charge.map_err(|error| TapeError(error.to_string()))?);
        self.texts.push(text);
        self.bytes = bytes;
        Ok(())
    }

    fn add_failure(&mut self, request_line: &str, why: &TapeError) {
        let why = format!("{request_line} could not be recorded: {why}");
        self.failure.get_or_insert(TapeError(why));
    }
}
