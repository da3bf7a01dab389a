//! The traits that the author of a connector implements. Their functions receive the connection's
//! settings as a value of the connector's own type.

use serde::de::DeserializeOwned;

use crate::bindings::exports::jackfield::connector::{defects, kpis, plugin};
use crate::bindings::jackfield::connector::model::{Counts, Defect, Error, FailedTest};
use crate::settings::settings;

/// A connector that creates and counts defects. The contract describes the rules of each function.
pub trait Connector {
    /// The type of the settings that [`Self::SCHEMA`] describes, without secrets.
    type Settings: DeserializeOwned;

    /// The name that people see.
    const NAME: &'static str;
    /// The connector's version, usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    const SUMMARY: &'static str;
    const HOMEPAGE: Option<&'static str> = None;
    /// The JSON Schema of the settings.
    const SCHEMA: &'static str;
    const INDEX_DELAY_SECONDS: Option<u32>;

    fn check(settings: Self::Settings) -> Result<String, Error>;

    /// Lists values of a setting. Receives no settings, because other settings may still be
    /// missing.
    fn choices(setting: &str, _search: &str) -> Result<plugin::ChoicesPage, Error> {
        Err(Error::unsupported("this setting has no list of values").about(setting))
    }

    fn create(settings: Self::Settings, test: FailedTest, marker: &str) -> Result<Defect, Error>;

    fn find(settings: Self::Settings, marker: &str) -> Result<Vec<Defect>, Error>;

    fn count(settings: Self::Settings, project: &str) -> Result<Counts, Error>;
}

fn given<T: Connector>() -> Result<T::Settings, Error> {
    settings(T::SCHEMA)
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
        T::check(given::<T>()?)
    }

    fn choices(setting: String, search: String) -> Result<plugin::ChoicesPage, Error> {
        T::choices(&setting, &search)
    }
}

impl<T: Connector> defects::Guest for T {
    fn create(test: FailedTest, marker: String) -> Result<Defect, Error> {
        T::create(given::<T>()?, test, &marker)
    }

    fn find(marker: String) -> Result<Vec<Defect>, Error> {
        T::find(given::<T>()?, &marker)
    }
}

impl<T: Connector> kpis::Guest for T {
    fn count(project: String) -> Result<Counts, Error> {
        T::count(given::<T>()?, &project)
    }
}

/// The functions of a connector that also exports `follow-up`.
#[cfg(feature = "follow-up")]
mod later {
    use super::{Connector, Defect, Error, FailedTest, given};
    use crate::bindings::exports::jackfield::connector::follow_up::{Current, Guest};

    /// The functions that work on a defect after it was created.
    pub trait FollowUp: Connector {
        /// Returns the defect as it is now, and whether it is open; `None` if the tracker no longer
        /// has it.
        fn state(settings: Self::Settings, key: &str) -> Result<Option<(bool, Defect)>, Error>;

        fn comment(
            settings: Self::Settings,
            key: &str,
            test: FailedTest,
            marker: &str,
        ) -> Result<(), Error>;

        fn find_comment(settings: Self::Settings, key: &str, marker: &str) -> Result<bool, Error>;

        fn reopen(settings: Self::Settings, key: &str) -> Result<(), Error>;

        fn attach(settings: Self::Settings, key: &str, attachment: u32) -> Result<(), Error>;

        fn attached(settings: Self::Settings, key: &str) -> Result<Vec<String>, Error>;
    }

    impl<T: FollowUp> Guest for T {
        fn state(key: String) -> Result<Option<Current>, Error> {
            let found = T::state(given::<T>()?, &key)?;
            Ok(found.map(|(open, defect)| Current { defect, open }))
        }

        fn comment(key: String, test: FailedTest, marker: String) -> Result<(), Error> {
            T::comment(given::<T>()?, &key, test, &marker)
        }

        fn find_comment(key: String, marker: String) -> Result<bool, Error> {
            T::find_comment(given::<T>()?, &key, &marker)
        }

        fn reopen(key: String) -> Result<(), Error> {
            T::reopen(given::<T>()?, &key)
        }

        fn attach(key: String, attachment: u32) -> Result<(), Error> {
            T::attach(given::<T>()?, &key, attachment)
        }

        fn attached(key: String) -> Result<Vec<String>, Error> {
            T::attached(given::<T>()?, &key)
        }
    }
}

#[cfg(feature = "follow-up")]
pub use later::FollowUp;
