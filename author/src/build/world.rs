//! Chooses the world of a connector by what it exports, and names an export that is missing.
//! Without this, some toolchains build a component without the export, and the first create fails.

/// A world of the contract.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) name: &'static str,
    exports: &'static [&'static str],
    has_test_data: bool,
}

/// The worlds. Of those that fit, the first is chosen.
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
/// The interfaces that a connector exports.
pub(super) const EXPORTS: [&str; 4] = ["plugin", "defects", "kpis", "follow-up"];
/// The interfaces that give test data.
pub(super) const TEST_DATA: [&str; 2] = ["report", "test-manager"];

/// Why no world fits a connector's source, or not the one that the project names.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WorldError {
    #[error(
        "{named_in} chooses the world `{name}`; the worlds are {}",
        WORLDS.map(|world| world.name).join(", ")
    )]
    Unknown { name: String, named_in: String },
    #[error("it does not export `{export}`, which the world `{world}` needs: add {spelt}, {or}")]
    Missing { export: &'static str, world: &'static str, spelt: String, or: String },
    #[error("it exports `{export}`, which the world `{world}` does not have: remove it, {or}")]
    Surplus { export: &'static str, world: &'static str, or: String },
    #[error(
        "it uses test data (`report` or `test-manager`), which the world `{world}` does not have: do \
         without it, {or}"
    )]
    TestData { world: &'static str, or: String },
    #[error("it does not export `plugin`: add {spelt}")]
    NoPlugin { spelt: String },
    #[error(
        "it exports {exports}, and no world has just these: export `defects` ({defects}), `kpis` \
         ({kpis}) or both; `follow-up` needs `defects`; a connector that only counts gets no test data"
    )]
    NoneFits { exports: String, defects: String, kpis: String },
}

impl World {
    /// Whether a connector of this world exports the interface.
    pub(super) fn exports(&self, interface: &str) -> bool {
        self.exports.contains(&interface)
    }
}

const fn world(name: &'static str, exports: &'static [&'static str], has_test_data: bool) -> World {
    World { name, exports, has_test_data }
}

/// What a connector's source exports and imports.
pub(super) struct Source<'a> {
    /// The world that the project names, if it does.
    pub(super) chosen: Option<&'a str>,
    /// The file that names it.
    pub(super) chosen_in: &'a str,
    /// The interfaces that it exports.
    pub(super) exports: Vec<&'static str>,
    /// Whether it imports test data.
    pub(super) uses_test_data: bool,
    /// How an export of this interface is written.
    pub(super) spell: fn(&str) -> String,
}

impl Source<'_> {
    /// The world to build for, or why none fits.
    pub(super) fn world(&self) -> Result<&'static World, WorldError> {
        match self.chosen {
            Some(name) => self.named(name),
            None => self.fitting(),
        }
    }

    fn named(&self, name: &str) -> Result<&'static World, WorldError> {
        let world = WORLDS.iter().find(|world| world.name == name).ok_or_else(|| {
            WorldError::Unknown { name: name.to_owned(), named_in: self.chosen_in.to_owned() }
        })?;
        let or = || match self.fitting() {
            Ok(world) => format!("or choose the world `{}` in {}", world.name, self.chosen_in),
            Err(_) => "which every connector exports".to_owned(),
        };
        let lacks = |it: &&&'static str| !self.exports.contains(*it);
        if let Some(export) = world.exports.iter().find(lacks) {
            let spelt = (self.spell)(export);
            return Err(WorldError::Missing { export, world: world.name, spelt, or: or() });
        }
        if let Some(export) = self.exports.iter().find(|it| !world.exports.contains(it)) {
            return Err(WorldError::Surplus { export, world: world.name, or: or() });
        }
        if self.uses_test_data && !world.has_test_data {
            return Err(WorldError::TestData { world: world.name, or: or() });
        }
        Ok(world)
    }

    fn fitting(&self) -> Result<&'static World, WorldError> {
        let is_plugin = self.exports.contains(&"plugin");
        let fits = |world: &&World| {
            let exports = |it: &&str| self.exports.contains(it);
            world.exports.iter().all(exports)
                && world.exports.len() == self.exports.len()
                && (world.has_test_data || !self.uses_test_data)
        };
        WORLDS.iter().find(fits).ok_or_else(|| match is_plugin {
            false => WorldError::NoPlugin { spelt: (self.spell)("plugin") },
            true => WorldError::NoneFits {
                exports: self.exports.join(", "),
                defects: (self.spell)("defects"),
                kpis: (self.spell)("kpis"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world_of(
        chosen: Option<&str>,
        exports: &[&'static str],
        uses_test_data: bool,
    ) -> Result<&'static str, WorldError> {
        let source = Source {
            chosen,
            chosen_in: "package.json",
            exports: exports.to_vec(),
            uses_test_data,
            spell: |name| format!("`export const {name}`"),
        };
        source.world().map(|world| world.name)
    }

    #[test]
    fn the_exports_choose_the_world() {
        let both = ["plugin", "defects", "kpis"];
        assert_eq!(world_of(None, &both, false), Ok("plain-connector"));
        assert_eq!(world_of(None, &both, true), Ok("connector"));
        assert_eq!(world_of(None, &["plugin", "kpis"], false), Ok("kpis-connector"));
        assert_eq!(world_of(None, &["plugin", "defects"], true), Ok("defects-connector"));
        assert_eq!(world_of(None, &EXPORTS, false), Ok("plain-follow-up-connector"));
        let no_kpis = ["plugin", "defects", "follow-up"];
        assert_eq!(world_of(None, &no_kpis, true), Ok("follow-up-defects-connector"));
        assert_eq!(world_of(Some("connector"), &both, false), Ok("connector"));
    }

    #[test]
    fn what_does_not_fit_the_chosen_world_is_named() {
        for (chosen, exports, test_data, words) in [
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
            let why = world_of(chosen, exports, test_data).unwrap_err().to_string();
            assert!(why.contains(words), "{words:?} is not in: {why}");
        }
    }

    #[test]
    fn the_worlds_are_those_of_the_contract() {
        let contract = include_str!("../../../wit/connector.wit");
        let worlds = contract.lines().filter_map(|line| line.strip_prefix("world "));
        let worlds: Vec<_> = worlds.map(|line| line.trim_end_matches(" {")).collect();
        assert_eq!(worlds.len(), WORLDS.len());
        assert!(WORLDS.iter().all(|world| worlds.contains(&world.name)), "{worlds:?}");
    }
}
