//! The calls that the suite replays. This module makes no call itself.

use crate::domain::{Call, Marker, string_enum};
use crate::runtime::Interfaces;

string_enum! {
    /// A call that the suite records and replays. Its name is also the name of the folder of its
    /// recording.
    pub enum Scenario {
        /// `check` with valid settings.
        Check = "check",
        /// `create`, after which the tracker has a new defect.
        Create = "create-defect",
        /// `find` with the marker of the defect that `create` created.
        Find = "find",
        /// `find` with a marker that no defect has.
        FindUnknown = "find-unknown",
        /// `find` with a marker that no defect has, and with a wrong value of each secret.
        FindWrongSecret = "find-wrong-secret",
        /// `count` for one project.
        Count = "kpis",
    }
}

const UNKNOWN_MARKER: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzz";

impl Scenario {
    /// Returns the export that is called.
    pub(super) fn call(self) -> Call {
        match self {
            Self::Check => Call::Check,
            Self::Create => Call::Create,
            Self::Find | Self::FindUnknown | Self::FindWrongSecret => Call::Find,
            Self::Count => Call::Count,
        }
    }

    /// Returns the marker with which the export is called; `None` for that of the failed test.
    pub(super) fn marker(self) -> Option<Marker> {
        let is_unknown = matches!(self, Self::FindUnknown | Self::FindWrongSecret);
        is_unknown.then(|| UNKNOWN_MARKER.parse().ok()).flatten()
    }

    /// Whether a connector with these interfaces has the export that is called.
    pub(super) fn is_exported_by(self, interfaces: Interfaces) -> bool {
        match self {
            Self::Check => true,
            Self::Create | Self::Find | Self::FindUnknown | Self::FindWrongSecret => {
                interfaces.exports_defects
            }
            Self::Count => interfaces.exports_kpis,
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
