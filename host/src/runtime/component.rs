//! Contains the types of loaded connectors. Never loads or runs a component.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use wasmtime::component::InstancePre;
use wasmtime::component::types::ComponentItem;

use crate::domain::{ConnectorName, Limits, Refusal};
use crate::manifest::Manifest;

use super::bindings::{defects, follow_up, kpis, plugin};
use super::error::LoadError;
use super::guest::Guest;
use super::pool;
use super::script::{RunScript, Script};

/// The beginnings of the names of the imports with which a connector reads test data from Test
/// Manager.
const TEST_DATA_IMPORTS: [&str; 2] =
    ["jackfield:connector/report@", "jackfield:connector/test-manager@"];

/// The interfaces that a connector exports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Whether the connector exports `defects`.
    pub exports_defects: bool,
    /// Whether the connector exports `kpis`.
    pub exports_kpis: bool,
    /// Whether the connector exports `follow-up`.
    pub exports_follow_up: bool,
}

impl Interfaces {
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        let interfaces = [
            ("defects", self.exports_defects),
            ("kpis", self.exports_kpis),
            ("follow-up", self.exports_follow_up),
        ];
        interfaces.into_iter().filter(|(_, is_exported)| *is_exported).map(|(name, _)| name)
    }
}

/// A component that is linked to its imports.
#[derive(Clone)]
pub(crate) struct LoadedComponent {
    pub(super) pre: InstancePre<Guest>,
    pub(super) plugin: plugin::GuestIndices,
    pub(super) defects: Option<defects::GuestIndices>,
    pub(super) kpis: Option<kpis::GuestIndices>,
    pub(super) follow_up: Option<follow_up::GuestIndices>,
    /// The script that each run evaluates, if the component is the runner of scripts.
    pub(super) script: Option<Arc<Script>>,
    /// The number of slots of the engine's pool (`pool.rs`) that one instance needs.
    pub(super) slots: u32,
}

/// The loaded content of a connector's file.
pub(crate) struct Version {
    /// SHA-256 of the file, hex.
    pub(crate) sha256: String,
    pub(crate) manifest: Manifest,
    pub(crate) loaded: LoadedComponent,
}

/// A connector: its name, the version that its runs use, and its limits.
pub struct Connector {
    name: ConnectorName,
    version: Arc<Version>,
    limits: Limits,
    loaded_at: Timestamp,
    /// The number of runs that have ended since this value was created.
    run_count: AtomicU64,
    /// The number of these runs that ended with a fault of the connector.
    fault_count: AtomicU64,
}

/// If all runs so far ended with a fault of the connector, a warning is logged at each of these
/// numbers of runs.
const REPORTED_FAULT_COUNTS: [u64; 3] = [1, 3, 10];

impl LoadedComponent {
    pub(super) fn new(pre: InstancePre<Guest>) -> Result<Self, LoadError> {
        let exports = || export_names(&pre);
        let plugin = plugin::GuestIndices::new(&pre).map_err(|_| LoadError::NoPlugin(exports()))?;
        let defects = defects::GuestIndices::new(&pre).ok();
        let kpis = kpis::GuestIndices::new(&pre).ok();
        if defects.is_none() && kpis.is_none() {
            return Err(LoadError::NoEventInterface(exports()));
        }
        let follow_up = follow_up::GuestIndices::new(&pre).ok();
        let slots = pool::slots_needed(pre.component())?;
        Ok(Self { pre, plugin, defects, kpis, follow_up, script: None, slots })
    }

    pub(crate) fn interfaces(&self) -> Interfaces {
        Interfaces {
            exports_defects: self.defects.is_some(),
            exports_kpis: self.kpis.is_some(),
            exports_follow_up: self.follow_up.is_some(),
        }
    }

    /// Returns the names of the imports and of the exports of the component, or of its script.
    pub(crate) fn imports_and_exports(&self) -> (Vec<String>, Vec<String>) {
        if let Some(script) = &self.script {
            return (script.imports.clone(), script.exports.clone());
        }
        let (engine, kind) = (self.pre.engine(), self.pre.component().component_type());
        let imports = kind.imports(engine).map(|(name, _)| name.to_owned()).collect();
        (imports, export_names(&self.pre))
    }

    pub(super) fn script_of_run(&self, connector: &ConnectorName) -> Option<RunScript> {
        let script = Arc::clone(self.script.as_ref()?);
        Some(RunScript { file_name: format!("{connector}.js"), script })
    }

    /// Returns the functions that the component imports from the interface whose name begins with
    /// `interface`. For a script that imports the interface, returns all functions that the runner
    /// of scripts imports from it.
    pub(crate) fn imported_functions(&self, interface: &str) -> Vec<String> {
        let is_imported = |name: &String| name.starts_with(interface);
        if self.script.as_ref().is_some_and(|script| !script.imports.iter().any(is_imported)) {
            return Vec::new();
        }
        let (engine, kind) = (self.pre.engine(), self.pre.component().component_type());
        let mut imports = kind.imports(engine);
        let imported =
            imports.find(|(name, _)| name.starts_with(interface)).map(|(_, item)| item.ty);
        let Some(ComponentItem::ComponentInstance(instance)) = imported else { return Vec::new() };
        let functions = instance.exports(engine);
        let functions =
            functions.filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
        functions.map(|(name, _)| name.to_owned()).collect()
    }
}

fn export_names(pre: &InstancePre<Guest>) -> Vec<String> {
    let kind = pre.component().component_type();
    kind.exports(pre.engine()).map(|(name, _)| name.to_owned()).collect()
}

impl Version {
    /// Creates a version, and sets `manifest.reads_test_data` from the imports of the component or
    /// of its script.
    pub(crate) fn new(
        sha256: String,
        mut manifest: Manifest,
        loaded: LoadedComponent,
    ) -> Arc<Self> {
        let (imports, _) = loaded.imports_and_exports();
        manifest.reads_test_data = imports
            .iter()
            .any(|import| TEST_DATA_IMPORTS.iter().any(|name| import.starts_with(name)));
        Arc::new(Self { sha256, manifest, loaded })
    }
}

impl Connector {
    pub(crate) fn new(
        name: ConnectorName,
        version: Arc<Version>,
        limits: Limits,
        loaded_at: Timestamp,
    ) -> Self {
        let (run_count, fault_count) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { name, version, limits, loaded_at, run_count, fault_count }
    }

    /// Returns a connector with the same version and other limits. The new connector counts its own
    /// runs from 0.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self::new(self.name.clone(), Arc::clone(&self.version), limits, self.loaded_at)
    }

    /// Returns the functions with which the connector can read test data, by interface.
    #[must_use]
    pub fn imported_test_data_functions(&self) -> Vec<(&'static str, Vec<String>)> {
        let loaded = &self.version.loaded;
        let interfaces = ["report", "test-manager"].into_iter().zip(TEST_DATA_IMPORTS);
        let functions = interfaces.map(|(name, import)| (name, loaded.imported_functions(import)));
        functions.filter(|(_, functions)| !functions.is_empty()).collect()
    }

    /// The connector's name.
    #[must_use]
    pub fn name(&self) -> &ConnectorName {
        &self.name
    }

    /// SHA-256 of the file, hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.version.sha256
    }

    /// The manifest that the connector's `describe` returned.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.version.manifest
    }

    /// The interfaces that the connector exports.
    #[must_use]
    pub fn interfaces(&self) -> Interfaces {
        self.version.loaded.interfaces()
    }

    /// The time at which this version was loaded.
    #[must_use]
    pub fn loaded_at(&self) -> Timestamp {
        self.loaded_at
    }

    /// Returns a warning if there were runs, and all of them ended with a fault of the connector.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let (runs, faults) =
            (self.run_count.load(Ordering::Relaxed), self.fault_count.load(Ordering::Relaxed));
        (faults > 0 && faults == runs).then(|| {
            format!(
                "this version has failed {faults} of {runs} runs since it was loaded; if the version \
                 before it worked, `jackfield connectors rollback {}` restores that version",
                self.name
            )
        })
    }

    /// Counts a run that has ended. May log [`Self::warning`].
    pub(super) fn count_run<T>(&self, outcome: &Result<T, Refusal>) {
        self.run_count.fetch_add(1, Ordering::Relaxed);
        let Err(Refusal::ConnectorFault(fault)) = outcome else { return };
        let faults = self.fault_count.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if let Some(warning) = self.warning().filter(|_| REPORTED_FAULT_COUNTS.contains(&faults)) {
            let (sha256, last) = (self.sha256(), fault.to_string());
            tracing::warn!(connector = %self.name, sha256, last, "{warning}");
        }
    }

    pub(super) fn loaded(&self) -> &LoadedComponent {
        &self.version.loaded
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Connector");
        debug.field("name", &self.name).field("sha256", &self.sha256()).finish_non_exhaustive()
    }
}
