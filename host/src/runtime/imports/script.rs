//! `jackfield:script/source`: gives the runner of scripts the script of the run. No other component
//! can import it.

use crate::runtime::bindings::source;
use crate::runtime::guest::Guest;

impl source::Host for Guest {
    fn get(&mut self) -> wasmtime::Result<source::Script> {
        let Some(given) = &self.input.script else {
            return Err(wasmtime::Error::msg("this run has no script"));
        };
        let program = given.script.program.clone();
        Ok(source::Script { file: given.file.clone(), program })
    }
}
