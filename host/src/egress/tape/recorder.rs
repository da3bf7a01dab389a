//! Writes each exchange of a run to a folder.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::{NotUsable, TapeError, TapedAnswer, TapedRequest, folder};

/// Writes exchanges to a folder.
pub struct Recorder {
    state: Mutex<State>,
}

struct State {
    folder: PathBuf,
    written: usize,
    /// Why the first exchange was not written that is missing.
    failure: Option<TapeError>,
}

impl Recorder {
    /// Creates the folder, which must not have recorded exchanges.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn create(folder: &Path) -> Result<Self, NotUsable> {
        Ok(Self { state: Mutex::new(State::begin(folder)?) })
    }

    /// Writes what follows to another folder, which must not have recorded exchanges.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn begin(&self, folder: &Path) -> Result<(), NotUsable> {
        *self.state.lock() = State::begin(folder)?;
        Ok(())
    }

    /// How many exchanges were written.
    ///
    /// # Errors
    /// Why the recording is not complete.
    pub fn end(&self) -> Result<usize, TapeError> {
        let state = self.state.lock();
        state.failure.clone().map_or(Ok(state.written), Err)
    }

    /// Writes an exchange. A failure does not change the run, because the tracker has answered.
    pub(super) fn keep(&self, request: TapedRequest, answer: Result<TapedAnswer, TapeError>) {
        let mut state = self.state.lock();
        let number = state.written + 1;
        let what = format!("{} {}", request.method, request.url);
        let written = answer.and_then(|answer| {
            let written = folder::write(&state.folder, number, request, answer);
            written.map_err(|error| TapeError(error.to_string()))
        });
        match written {
            Ok(()) => state.written = number,
            Err(why) => {
                let why = format!("{what} could not be recorded: {why}");
                state.failure.get_or_insert(TapeError(why));
            }
        }
    }
}

impl State {
    fn begin(folder: &Path) -> Result<Self, NotUsable> {
        folder::create(folder)?;
        Ok(Self { folder: folder.to_owned(), written: 0, failure: None })
    }
}
