//! The calls that the suite replays. Each has its own recording.

use crate::domain::{Call, Marker, string_enum};
use crate::runtime::Interfaces;

string_enum! {
    /// A recorded call, by the name of its folder.
    pub enum Scenario {
        /// `check` with valid settings.
        Check = "check",
        /// `create`, which the tracker accepts.
        Create = "create-defect",
        /// `find` with the marker of that defect.
        Find = "find",
        /// `find` with a marker that no defect has.
        FindUnknown = "find-unknown",
        /// The same with a wrong secret.
        FindRefused = "find-wrong-secret",
        /// `count`.
        Count = "kpis",
    }
}

/// The marker that no defect has.
const UNKNOWN: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzz";

impl Scenario {
    pub(super) fn call(self) -> Call {
        match self {
            Self::Check => Call::Check,
            Self::Create => Call::Create,
            Self::Find | Self::FindUnknown | Self::FindRefused => Call::Find,
            Self::Count => Call::Count,
        }
    }

    /// The marker of the call, if it is not that of the failed test.
    pub(super) fn marker(self) -> Option<Marker> {
        let is_unknown = matches!(self, Self::FindUnknown | Self::FindRefused);
        is_unknown.then(|| UNKNOWN.parse().ok()).flatten()
    }

    /// Whether a connector with these interfaces has the call.
    pub(super) fn is_exported(self, interfaces: Interfaces) -> bool {
        match self {
            Self::Check => true,
            Self::Create | Self::Find | Self::FindUnknown | Self::FindRefused => interfaces.defects,
            Self::Count => interfaces.kpis,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unknown_marker_is_a_marker() {
        assert!(Scenario::FindUnknown.marker().is_some());
        assert_eq!(Scenario::Find.marker(), None);
    }
}
