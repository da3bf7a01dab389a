//! The processors that compiled code runs on.

use super::string_enum;

string_enum! {
    /// The processors for which connectors are compiled.
    pub enum CompileFor {
        /// The processor of this machine, with all its instructions.
        ThisCpu = "this-cpu",
        /// Any processor of the same architecture: no instruction beyond the base set.
        AnyCpu = "any-cpu",
    }
}
