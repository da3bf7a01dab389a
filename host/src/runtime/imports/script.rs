//! Implements `jackfield:script/source`: returns the script of the run to the runner of scripts.
//! Only the runner can import this interface.

use crate::runtime::bindings::source;
use crate::runtime::guest::Guest;

impl source::Host for Guest {
    fn get(&mut self) -> wasmtime::Result<source::Script> {
        let Some(script_of_run) = &self.input.script else {
            return Err(wasmtime::Error::msg("this run has no script"));
        };
        let program = script_of_run.script.program.clone();
        Ok(source::Script { file: script_of_run.file_name.clone(), program })
    }
}
