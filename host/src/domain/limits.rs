//! The limits of a connector: on its file, its runs, and the time to answer its webhooks. The name
//! of a limit ends in its unit, if it has one. This file never enforces a limit.

use std::fmt;

/// A limit of a connector, as the docs list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The config key under `[limits]`.
    pub name: &'static str,
    /// The value if nothing is configured.
    pub default: u64,
    /// The maximum that the config may set.
    pub maximum: u64,
    /// A short description of the limited resource, for people.
    pub what: &'static str,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident = $default:expr, up to $maximum:expr, $what:literal;)+) => {
        /// The limits of one connector.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits { $($(#[doc = $doc])+ pub $name: u64,)+ }

        impl Default for Limits {
            fn default() -> Self { Self { $($name: $default,)+ } }
        }

        impl Limits {
            /// All limits, in the order of the docs.
            pub const TABLE: &'static [Limit] = &[
                $(Limit { name: stringify!($name), default: $default, maximum: $maximum, what: $what },)+
            ];

            /// Returns the value of the limit with this name; `None` if there is no such limit.
            #[must_use]
            pub fn value(&self, name: &str) -> Option<u64> {
                match name { $(stringify!($name) => Some(self.$name),)+ _ => None }
            }

            /// Sets one limit by its name.
            ///
            /// # Errors
            /// An unknown name, zero, or a value above the maximum.
            pub fn set(&mut self, name: &str, value: u64) -> Result<(), LimitError> {
                match name {
                    $(stringify!($name) if (1..=$maximum).contains(&value) => {
                        self.$name = value;
                        Ok(())
                    })+
                    $(stringify!($name) => Err(LimitError::OutOfRange {
                        name: stringify!($name), value, maximum: $maximum,
                    }),)+
                    _ => Err(LimitError::Unknown(name.to_owned())),
                }
            }
        }
    };
}

const MIB: u64 = 1024 * 1024;

limits! {
    /// Maximum sum of the linear memories and tables of a run and of the bodies that the host
    /// stores for it.
    memory_bytes = 128 * MIB, up to 1024 * MIB, "memory and tables of one run";
    /// Maximum CPU time of a run. The time of waiting for the tracker does not count.
    cpu_ms = 1_000, up to 60_000, "computing time of one run";
    /// Maximum time from the start of a run to its end, including waits for the tracker.
    run_ms = 120_000, up to 600_000, "duration of one run";
    /// Maximum time from a Create Defect request to its answer.
    create_answer_ms = 25_000, up to 300_000, "time to answer Create Defect";
    /// Maximum time from a Defect KPIs request to its answer.
    kpi_answer_ms = 10_000, up to 300_000, "time to answer Defect KPIs";
    /// Maximum number of requests of one run, including requests that the host refuses to send.
    outbound_calls = 30, up to 1_000, "outbound calls of one run";
    /// Maximum size of the body of a tracker's answer, as received and as decoded.
    response_body_bytes = 8 * MIB, up to 256 * MIB, "body of one tracker answer";
    /// Maximum size of the body of a request to a tracker.
    request_body_bytes = 32 * MIB, up to 256 * MIB, "body of one outbound request";
    /// Maximum size of the log lines, stdout and stderr of one run together.
    log_bytes = 64 * 1024, up to 4 * MIB, "log of one run";
    /// Maximum size of a connector's file. A script must not exceed 512 KiB either.
    component_bytes = 64 * MIB, up to 512 * MIB, "size of a component file";
    /// Maximum time to compile a component.
    compile_ms = 120_000, up to 1_800_000, "time to compile a component";
    /// Maximum memory of the compiler process.
    compile_memory_bytes = 4096 * MIB, up to 65_536 * MIB, "memory to compile a component";
    /// Maximum number of runs of one connector at the same time. A connection may exceed it by the
    /// first run of each kind of call.
    concurrent_runs = 32, up to 1_000, "concurrent runs of one connector";
    /// Maximum number of handles (resources) that one run may have open.
    handles = 1_000, up to 100_000, "handles of one run";
}

/// The reason why a limit could not be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitError {
    /// The config has a limit that does not exist.
    Unknown(String),
    /// The value is zero, or more than the maximum.
    OutOfRange {
        /// The key of the limit.
        name: &'static str,
        /// The value in the config.
        value: u64,
        /// The maximum that is allowed.
        maximum: u64,
    },
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "unknown limit `{name}`"),
            Self::OutOfRange { name, value, maximum } => {
                write!(f, "`{name}` = {value} is out of range: 1 to {maximum}")
            }
        }
    }
}

impl std::error::Error for LimitError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_can_be_set_up_to_its_maximum() {
        let mut limits = Limits::default();
        for limit in Limits::TABLE {
            assert_eq!(limits.value(limit.name), Some(limit.default));
            assert_eq!(limits.set(limit.name, limit.maximum), Ok(()));
            assert!(limits.set(limit.name, limit.maximum + 1).is_err());
            assert!(limits.set(limit.name, 0).is_err());
        }
        assert!(matches!(limits.set("cpu", 1), Err(LimitError::Unknown(_))));
    }
}
