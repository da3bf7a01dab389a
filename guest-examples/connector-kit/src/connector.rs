//! The traits that the author of a connector implements. All their functions except `choices`
//! receive the connection's settings as a value of a type that the author declares.

use serde::de::DeserializeOwned;

use crate::bindings::exports::jackfield::connector::{defects, kpis, plugin};
use crate::bindings::jackfield::connector::model::{Counts, Defect, Error, FailedTest};
use crate::settings::read_settings;

/// A connector that creates, finds and counts defects. `wit/connector.wit` describes the rules for
/// each function.
pub trait Connector {
    /// The type of the settings that [`Self::SCHEMA`] describes, without secrets.
    type Settings: DeserializeOwned;

    /// The connector's name for people.
    const NAME: &'static str;
    /// The connector's version, usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// What the connector does, in one line.
    const SUMMARY: &'static str;
    /// The address of a page about the connector or the tracker.
    const HOMEPAGE: Option<&'static str> = None;
    /// The JSON Schema of the settings.
    const SCHEMA: &'static str;
    /// The index delay: how long the tracker's search may miss a new record. 0 means that it finds
    /// the record immediately, and `None` means that the tracker has no search.
    const INDEX_DELAY_SECONDS: Option<u32>;

    /// Checks the settings and the credentials with the tracker. Returns a sentence about what it
    /// reached.
    fn check(settings: Self::Settings) -> Result<String, Error>;

    /// Lists the possible values of one setting. Receives no settings, because required settings
    /// may still be missing.
    fn choices(setting: &str, _search: &str) -> Result<plugin::ChoicesPage, Error> {
        Err(Error::unsupported("this setting has no list of values").with_setting(setting))
    }

    /// Creates the defect of a failed test, with the marker in it.
    fn create(settings: Self::Settings, test: FailedTest, marker: &str) -> Result<Defect, Error>;

    /// Returns the defects that contain the marker.
    fn find(settings: Self::Settings, marker: &str) -> Result<Vec<Defect>, Error>;

    /// Counts the defects in the tracker that the settings select, also those that Jackfield did
    /// not create.
    fn count(settings: Self::Settings, project: &str) -> Result<Counts, Error>;
}

fn settings_of<T: Connector>() -> Result<T::Settings, Error> {
    read_settings(T::SCHEMA)
}

impl<T: Connector> plugin::Guest for T {
    fn describe() -> plugin::Manifest {
        plugin::Manifest {
            name: T::NAME.to_owned(),
            version: T::VERSION.to_owned(),
            summary: T::SUMMARY.to_owned(),
            homepage: T::HOMEPAGE.map(str::to_owned),
            settings: T::SCHEMA.to_owned(),
            index_delay_seconds: T::INDEX_DELAY_SECONDS,
        }
    }

    fn check() -> Result<String, Error> {
        T::check(settings_of::<T>()?)
    }

    fn choices(setting: String, search: String) -> Result<plugin::ChoicesPage, Error> {
        T::choices(&setting, &search)
    }
}

impl<T: Connector> defects::Guest for T {
    fn create(test: FailedTest, marker: String) -> Result<Defect, Error> {
        T::create(settings_of::<T>()?, test, &marker)
    }

    fn find(marker: String) -> Result<Vec<Defect>, Error> {
        T::find(settings_of::<T>()?, &marker)
    }
}

impl<T: Connector> kpis::Guest for T {
    fn count(project: String) -> Result<Counts, Error> {
        T::count(settings_of::<T>()?, &project)
    }
}

/// The trait of a connector that also exports `follow-up`.
#[cfg(feature = "follow-up")]
mod follow_up {
    use super::{Connector, Defect, Error, FailedTest, settings_of};
    use crate::bindings::exports::jackfield::connector::follow_up::{Current, Guest};

    /// The functions that work on a defect after it was created.
    pub trait FollowUp: Connector {
        /// Returns whether the defect is open, and the defect as it is now. Returns `None` if the
        /// defect no longer exists in the tracker.
        fn state(settings: Self::Settings, key: &str) -> Result<Option<(bool, Defect)>, Error>;

        /// Adds a comment to a defect. The comment says that the test failed again, and contains
        /// the marker.
        fn comment(
            settings: Self::Settings,
            key: &str,
            test: FailedTest,
            marker: &str,
        ) -> Result<(), Error>;

        /// Returns whether a comment of the defect contains the marker.
        fn find_comment(settings: Self::Settings, key: &str, marker: &str) -> Result<bool, Error>;

        /// Opens a closed defect again. Does nothing if the defect is open.
        fn reopen(settings: Self::Settings, key: &str) -> Result<(), Error>;

        /// Attaches the attachment of the report that has this id to the defect.
        fn attach(settings: Self::Settings, key: &str, attachment: u32) -> Result<(), Error>;

        /// Returns the names of the files that are attached to the defect.
        fn attached(settings: Self::Settings, key: &str) -> Result<Vec<String>, Error>;
    }

    impl<T: FollowUp> Guest for T {
        fn state(key: String) -> Result<Option<Current>, Error> {
            let found = T::state(settings_of::<T>()?, &key)?;
            Ok(found.map(|(open, defect)| Current { defect, open }))
        }

        fn comment(key: String, test: FailedTest, marker: String) -> Result<(), Error> {
            T::comment(settings_of::<T>()?, &key, test, &marker)
        }

        fn find_comment(key: String, marker: String) -> Result<bool, Error> {
            T::find_comment(settings_of::<T>()?, &key, &marker)
        }

        fn reopen(key: String) -> Result<(), Error> {
            T::reopen(settings_of::<T>()?, &key)
        }

        fn attach(key: String, attachment: u32) -> Result<(), Error> {
            T::attach(settings_of::<T>()?, &key, attachment)
        }

        fn attached(key: String) -> Result<Vec<String>, Error> {
            T::attached(settings_of::<T>()?, &key)
        }
    }
}

#[cfg(feature = "follow-up")]
pub use follow_up::FollowUp;
