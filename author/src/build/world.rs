//! Chooses the world of a connector by its exports and its use of test data, unless the project
//! chooses the world. Reports a missing export. Without this check, some toolchains would build a
//! component without the export, and the first create would fail.

#[derive(Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) name: &'static str,
    exports: &'static [&'static str],
    /// Whether a connector of this world can import the interfaces of [`TEST_DATA`].
    has_test_data: bool,
}

/// All worlds of the contract. If several worlds fit a connector, the first one is chosen.
const WORLDS: [World; 9] = [
    world("plain-connector", &["plugin", "defects", "kpis"], false),
    world("connector", &["plugin", "defects", "kpis"], true),
    world("plain-follow-up-connector", &["plugin", "defects", "kpis", "follow-up"], false),
    world("follow-up-connector", &["plugin", "defects", "kpis", "follow-up"], true),
    world("plain-defects-connector", &["plugin", "defects"], false),
    world("defects-connector", &["plugin", "defects"], true),
    world("plain-follow-up-defects-connector", &["plugin", "defects", "follow-up"], false),
    world("follow-up-defects-connector", &["plugin", "defects", "follow-up"], true),
    world("kpis-connector", &["plugin", "kpis"], false),
];
pub(super) const EXPORTS: [&str; 4] = ["plugin", "defects", "kpis", "follow-up"];
/// The interfaces from which a connector imports data of the failed test.
pub(super) const TEST_DATA: [&str; 2] = ["report", "test-manager"];

/// The reason why no world fits a connector's source, or why the world that the project chooses
/// does not exist or does not fit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WorldError {
    #[error(
        "the world `{name}` that {settings_file} chooses does not exist; the worlds are {}",
        WORLDS.map(|world| world.name).join(", ")
    )]
    Unknown { name: String, settings_file: String },
    #[error(
        "the connector does not export `{export}`, which the world `{world}` requires: add {code}, \
         {alternative}"
    )]
    Missing { export: &'static str, world: &'static str, code: String, alternative: String },
    #[error(
        "the connector exports `{export}`, which the world `{world}` does not contain: remove this \
         export, {alternative}"
    )]
    Surplus { export: &'static str, world: &'static str, alternative: String },
    #[error(
        "the connector uses test data (`report` or `test-manager`), which the world `{world}` does not \
         contain: remove this use, {alternative}"
    )]
    TestData { world: &'static str, alternative: String },
    #[error("the connector does not export `plugin`: add {code}")]
    NoPlugin { code: String },
    #[error(
        "the connector exports {exports}, and no world has exactly these exports: export `defects` \
         ({defects}), `kpis` ({kpis}) or both; `follow-up` needs `defects`; a connector that only \
         counts cannot use test data"
    )]
    NoMatch { exports: String, defects: String, kpis: String },
}

impl World {
    pub(super) fn exports(&self, interface: &str) -> bool {
        self.exports.contains(&interface)
    }
}

const fn world(name: &'static str, exports: &'static [&'static str], has_test_data: bool) -> World {
    World { name, exports, has_test_data }
}

/// What the choice of a world depends on, and texts for its error messages.
pub(super) struct ConnectorSource<'a> {
    /// The name of the world that the project chooses. If it is `None`, the build chooses the
    /// world.
    pub(super) chosen_world: Option<&'a str>,
    /// The name of the project's file that can choose the world.
    pub(super) settings_file: &'a str,
    pub(super) exports: Vec<&'static str>,
    /// Whether the source imports an interface of [`TEST_DATA`].
    pub(super) uses_test_data: bool,
    /// Describes the code that exports an interface, for error messages.
    pub(super) describe_export: fn(&str) -> String,
}

impl ConnectorSource<'_> {
    pub(super) fn choose_world(&self) -> Result<&'static World, WorldError> {
        match self.chosen_world {
            Some(name) => self.check_chosen(name),
            None => self.find_matching(),
        }
    }

    fn check_chosen(&self, name: &str) -> Result<&'static World, WorldError> {
        let world = WORLDS.iter().find(|world| world.name == name).ok_or_else(|| {
            let settings_file = self.settings_file.to_owned();
            WorldError::Unknown { name: name.to_owned(), settings_file }
        })?;
        let alternative = || match self.find_matching() {
            Ok(world) => format!("or choose the world `{}` in {}", world.name, self.settings_file),
            Err(WorldError::NoPlugin { .. }) => "which every connector exports".to_owned(),
            Err(_) => format!("or choose another world in {}", self.settings_file),
        };
        let is_missing = |it: &&&'static str| !self.exports.contains(*it);
        if let Some(export) = world.exports.iter().find(is_missing) {
            let (code, alternative) = ((self.describe_export)(export), alternative());
            return Err(WorldError::Missing { export, world: world.name, code, alternative });
        }
        if let Some(export) = self.exports.iter().find(|it| !world.exports.contains(it)) {
            let alternative = alternative();
            return Err(WorldError::Surplus { export, world: world.name, alternative });
        }
        if self.uses_test_data && !world.has_test_data {
            return Err(WorldError::TestData { world: world.name, alternative: alternative() });
        }
        Ok(world)
    }

    /// Finds the first world that fits the source.
    fn find_matching(&self) -> Result<&'static World, WorldError> {
        let has_plugin = self.exports.contains(&"plugin");
        let matches = |world: &&World| {
            let is_exported = |it: &&str| self.exports.contains(it);
            world.exports.iter().all(is_exported)
                && world.exports.len() == self.exports.len()
                && (world.has_test_data || !self.uses_test_data)
        };
        WORLDS.iter().find(matches).ok_or_else(|| match has_plugin {
            false => WorldError::NoPlugin { code: (self.describe_export)("plugin") },
            true => WorldError::NoMatch {
                exports: self.exports.join(", "),
                defects: (self.describe_export)("defects"),
                kpis: (self.describe_export)("kpis"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen_world_name(
        chosen_world: Option<&str>,
        exports: &[&'static str],
        uses_test_data: bool,
    ) -> Result<&'static str, WorldError> {
        let source = ConnectorSource {
            chosen_world,
            settings_file: "package.json",
            exports: exports.to_vec(),
            uses_test_data,
            describe_export: |name| format!("`export const {name}`"),
        };
        source.choose_world().map(|world| world.name)
    }

    #[test]
    fn the_exports_and_the_use_of_test_data_determine_the_world() {
        let both = ["plugin", "defects", "kpis"];
        assert_eq!(chosen_world_name(None, &both, false), Ok("plain-connector"));
        assert_eq!(chosen_world_name(None, &both, true), Ok("connector"));
        assert_eq!(chosen_world_name(None, &["plugin", "kpis"], false), Ok("kpis-connector"));
        assert_eq!(chosen_world_name(None, &["plugin", "defects"], true), Ok("defects-connector"));
        assert_eq!(chosen_world_name(None, &EXPORTS, false), Ok("plain-follow-up-connector"));
        let no_kpis = ["plugin", "defects", "follow-up"];
        assert_eq!(chosen_world_name(None, &no_kpis, true), Ok("follow-up-defects-connector"));
        assert_eq!(chosen_world_name(Some("connector"), &both, false), Ok("connector"));
    }

    #[test]
    fn the_error_explains_why_no_world_fits() {
        for (chosen_world, exports, uses_test_data, expected) in [
            (Some("connector"), &["plugin", "kpis"][..], false, "add `export const defects`"),
            (Some("connector"), &["plugin", "kpis"], false, "the world `kpis-connector`"),
            (Some("connector"), &["defects", "kpis"], false, "add `export const plugin`"),
            (Some("connector"), &EXPORTS, true, "choose the world `follow-up-connector`"),
            (Some("plain-connector"), &["plugin", "defects", "kpis"], true, "`connector`"),
            (Some("conector"), &["plugin", "kpis"], false, "the worlds are plain-connector"),
            (None, &["defects", "kpis"], false, "add `export const plugin`"),
            (None, &["plugin"], false, "or both"),
            (None, &["plugin", "kpis", "follow-up"], false, "`follow-up` needs `defects`"),
        ] {
            let error =
                chosen_world_name(chosen_world, exports, uses_test_data).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected:?} is not in: {error}");
        }
    }

    #[test]
    fn the_table_contains_exactly_the_worlds_of_the_contract() {
        let contract = include_str!("../../../wit/connector.wit");
        let worlds = contract.lines().filter_map(|line| line.strip_prefix("world "));
        let worlds: Vec<_> = worlds.map(|line| line.trim_end_matches(" {")).collect();
        assert_eq!(worlds.len(), WORLDS.len());
        assert!(WORLDS.iter().all(|world| worlds.contains(&world.name)), "{worlds:?}");
    }
}
