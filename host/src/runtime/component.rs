//! Loaded connectors: a linked component, a version of a connector, and a version under the name of
//! its file.
//!
//! These values neither load nor run anything.

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

/// The imports by which a connector reads test data from Test Manager.
const TEST_DATA: [&str; 2] = ["jackfield:connector/report@", "jackfield:connector/test-manager@"];

/// The interfaces that a connector exports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Exports `defects`.
    pub defects: bool,
    /// Exports `kpis`.
    pub kpis: bool,
    /// Exports `follow-up`: it can work on a defect after the create.
    pub follow_up: bool,
}

impl Interfaces {
    /// The names of the exported interfaces.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [("defects", self.defects), ("kpis", self.kpis), ("follow-up", self.follow_up)];
        all.into_iter().filter(|(_, is_exported)| *is_exported).map(|(name, _)| name)
    }
}

/// A linked component, and the indices of its exports.
#[derive(Clone)]
pub(crate) struct LoadedComponent {
    pub(super) pre: InstancePre<Guest>,
    pub(super) plugin: plugin::GuestIndices,
    pub(super) defects: Option<defects::GuestIndices>,
    pub(super) kpis: Option<kpis::GuestIndices>,
    pub(super) follow_up: Option<follow_up::GuestIndices>,
    /// The script that each run evaluates, if the component is the runner of scripts.
    pub(super) script: Option<Arc<Script>>,
    /// Slots of the engine's pool that one instance needs.
    pub(super) slots: u32,
}

/// The loaded content of a connector's file. Files with the same bytes share one.
pub(crate) struct Version {
    /// SHA-256 of the file, hex.
    pub(crate) sha256: String,
    pub(crate) manifest: Manifest,
    pub(crate) loaded: LoadedComponent,
}

/// A connector: the name of its file, the version that runs, and the limits for this name.
pub struct Connector {
    name: ConnectorName,
    version: Arc<Version>,
    limits: Limits,
    loaded_at: Timestamp,
    /// The runs since then that ended.
    runs: AtomicU64,
    /// Those of them that trapped, hit a limit, or violated the contract.
    faults: AtomicU64,
}

/// After this many runs that all failed, the log says so again.
const REPORTED_FAULTS: [u64; 3] = [1, 3, 10];

impl LoadedComponent {
    /// Looks up the exported interfaces, and counts the slots that an instance needs.
    ///
    /// # Errors
    /// An export is missing, or the component needs too many memories or tables.
    pub(super) fn new(pre: InstancePre<Guest>) -> Result<Self, LoadError> {
        let exports = || exports(&pre);
        let plugin = plugin::GuestIndices::new(&pre).map_err(|_| LoadError::NoPlugin(exports()))?;
        let defects = defects::GuestIndices::new(&pre).ok();
        let kpis = kpis::GuestIndices::new(&pre).ok();
        if defects.is_none() && kpis.is_none() {
            return Err(LoadError::NoEventInterface(exports()));
        }
        let follow_up = follow_up::GuestIndices::new(&pre).ok();
        let slots = pool::slots(pre.component())?;
        Ok(Self { pre, plugin, defects, kpis, follow_up, script: None, slots })
    }

    /// The interfaces that the component exports.
    pub(crate) fn interfaces(&self) -> Interfaces {
        Interfaces {
            defects: self.defects.is_some(),
            kpis: self.kpis.is_some(),
            follow_up: self.follow_up.is_some(),
        }
    }

    /// The names of the imports and of the exports of the component, or of its script.
    pub(crate) fn imports_and_exports(&self) -> (Vec<String>, Vec<String>) {
        if let Some(script) = &self.script {
            return (script.imports.clone(), script.exports.clone());
        }
        let (engine, kind) = (self.pre.engine(), self.pre.component().component_type());
        let imports = kind.imports(engine).map(|(name, _)| name.to_owned()).collect();
        (imports, exports(&self.pre))
    }

    /// The script of a run of the connector of this name.
    pub(super) fn run_script(&self, connector: &ConnectorName) -> Option<RunScript> {
        let script = Arc::clone(self.script.as_ref()?);
        Some(RunScript { file: format!("{connector}.js"), script })
    }

    /// The functions that the component imports from the interface of this name. Of an interface
    /// that a script imports, all that its runner imports.
    pub(crate) fn imported_functions(&self, interface: &str) -> Vec<String> {
        let is_imported = |name: &String| name.starts_with(interface);
        if self.script.as_ref().is_some_and(|script| !script.imports.iter().any(is_imported)) {
            return Vec::new();
        }
        let (engine, kind) = (self.pre.engine(), self.pre.component().component_type());
        let mut imports = kind.imports(engine);
        let found = imports.find(|(name, _)| name.starts_with(interface)).map(|(_, item)| item.ty);
        let Some(ComponentItem::ComponentInstance(instance)) = found else { return Vec::new() };
        let functions = instance.exports(engine);
        let functions =
            functions.filter(|(_, it)| matches!(it.ty, ComponentItem::ComponentFunc(_)));
        functions.map(|(name, _)| name.to_owned()).collect()
    }
}

fn exports(pre: &InstancePre<Guest>) -> Vec<String> {
    let kind = pre.component().component_type();
    kind.exports(pre.engine()).map(|(name, _)| name.to_owned()).collect()
}

impl Version {
    /// Creates a version. The component's imports decide whether it asks for test data.
    pub(crate) fn new(
        sha256: String,
        mut manifest: Manifest,
        loaded: LoadedComponent,
    ) -> Arc<Self> {
        let (imports, _) = loaded.imports_and_exports();
        manifest.asks_for_test_data =
            imports.iter().any(|import| TEST_DATA.iter().any(|name| import.starts_with(name)));
        Arc::new(Self { sha256, manifest, loaded })
    }
}

impl Connector {
    /// The connector of this name that runs this version.
    pub(crate) fn new(
        name: ConnectorName,
        version: Arc<Version>,
        limits: Limits,
        loaded_at: Timestamp,
    ) -> Self {
        let (runs, faults) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { name, version, limits, loaded_at, runs, faults }
    }

    /// The same version with other limits.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self::new(self.name.clone(), Arc::clone(&self.version), limits, self.loaded_at)
    }

    /// What the connector asks Test Manager for: the functions of `report` and `test-manager` that
    /// it imports.
    #[must_use]
    pub fn test_data_functions(&self) -> Vec<(&'static str, Vec<String>)> {
        let loaded = &self.version.loaded;
        let interfaces = ["report", "test-manager"].into_iter().zip(TEST_DATA);
        let functions = interfaces.map(|(name, import)| (name, loaded.imported_functions(import)));
        functions.filter(|(_, functions)| !functions.is_empty()).collect()
    }

    /// The name: the stem of the connector's file.
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

    /// A warning if every run since the version was loaded failed because of the connector.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let (runs, faults) =
            (self.runs.load(Ordering::Relaxed), self.faults.load(Ordering::Relaxed));
        (faults > 0 && faults == runs).then(|| {
            format!(
                "this version has failed {faults} of {runs} runs since it was loaded; if the version \
                 before it worked, `jackfield connectors rollback {}` returns to it",
                self.name
            )
        })
    }

    /// Counts a run that ended, and logs the first ones if all of them failed.
    pub(super) fn count_run<T>(&self, outcome: &Result<T, Refusal>) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let Err(Refusal::ConnectorFault(fault)) = outcome else { return };
        let faults = self.faults.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if let Some(warning) = self.warning().filter(|_| REPORTED_FAULTS.contains(&faults)) {
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
        let mut shown = f.debug_struct("Connector");
        shown.field("name", &self.name).field("sha256", &self.sha256()).finish_non_exhaustive()
    }
}
