//! The processors that compiled code runs on.

use super::string_enum;

string_enum! {
    /// The processors for which connectors are compiled.
    pub enum CompileFor {
        /// The processor of this machine, with all its instructions.
        ThisCpu = "this-cpu",
        /// Any processor of the same architecture: the code uses only the base instructions of the
        /// architecture.
        AnyCpu = "any-cpu",
    }
}
