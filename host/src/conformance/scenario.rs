//! The calls that the suite replays. Each call has its own recording. This module makes no call.

use crate::domain::{Call, Marker, string_enum};
use crate::runtime::Interfaces;

string_enum! {
    /// A recorded call. Its name is also the name of its folder.
    pub enum Scenario {
        /// `check` with valid settings.
        Check = "check",
        /// `create` for which the tracker creates a defect.
        Create = "create-defect",
        /// `find` with the marker of that defect.
        Find = "find",
        /// `find` with a marker that no defect has.
        FindUnknown = "find-unknown",
        /// `find` with a marker that no defect has, and with a wrong secret.
        FindRefused = "find-wrong-secret",
        /// `count` for one project.
        Count = "kpis",
    }
}

/// The marker that no defect has.
const UNKNOWN_MARKER: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzz";

impl Scenario {
    pub(super) fn call(self) -> Call {
        match self {
            Self::Check => Call::Check,
            Self::Create => Call::Create,
            Self::Find | Self::FindUnknown | Self::FindRefused => Call::Find,
            Self::Count => Call::Count,
        }
    }

    /// Returns the marker of the call, if it is not the marker of the failed test.
    pub(super) fn marker(self) -> Option<Marker> {
        let is_unknown = matches!(self, Self::FindUnknown | Self::FindRefused);
        is_unknown.then(|| UNKNOWN_MARKER.parse().ok()).flatten()
    }

    /// Whether a connector with these interfaces exports the function that is called.
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
    fn the_unknown_marker_is_valid() {
        assert!(Scenario::FindUnknown.marker().is_some());
        assert_eq!(Scenario::Find.marker(), None);
    }
}
