//! `jackfield:script/source`: returns the script of the run to the runner of scripts. No other
//! component can import this interface.

use crate::runtime::bindings::source;
use crate::runtime::guest::Guest;

impl source::Host for Guest {
    fn get(&mut self) -> wasmtime::Result<source::Script> {
        let Some(run_script) = &self.input.script else {
            return Err(wasmtime::Error::msg("this run has no script"));
        };
        let program = run_script.script.program.clone();
        Ok(source::Script { file: run_script.file.clone(), program })
    }
}
