//! Creates an instance of a component in its own wasmtime store. An instance is never used for a
//! second call: each call consumes the instance, so the guest's memory is freed when the call
//! returns or is cancelled.

use std::sync::Arc;

use wasmtime::component::Instance;
use wasmtime::{CallHook, Store, UpdateDeadline};

use crate::cpu_time::Meter;
use crate::domain::Limits;
use crate::manifest::RawManifest;

use super::bindings::{defects, follow_up, kpis, model, plugin, preparation};
use super::component::LoadedComponent;
use super::engine::Engine;
use super::guest::Guest;
use super::limiter::ExceededLimit;
use super::script::PrepareError;

/// The result of a call. The outer error is an error of the engine, for example a trap. The inner
/// result is the value or the error that the connector returned.
pub(super) type CallResult<T> = wasmtime::Result<Result<T, model::Error>>;

/// An instance that has not been called yet.
pub(super) struct GuestInstance {
    store: Store<Guest>,
    instance: Instance,
}

impl GuestInstance {
    /// The start functions of the component's modules also run now.
    pub(super) async fn new(
        mut store: Store<Guest>,
        loaded: &LoadedComponent,
    ) -> wasmtime::Result<Self> {
        let instance = loaded.pre.instantiate_async(&mut store).await;
        store.data_mut().record_handles();
        Ok(Self { instance: instance?, store })
    }

    /// The inner result is always `Ok`, because the export `describe` returns no error.
    pub(super) async fn describe(
        mut self,
        export: plugin::GuestIndices,
    ) -> CallResult<RawManifest> {
        let guest = export.load(&mut self.store, &self.instance)?;
        let manifest = guest.call_describe(&mut self.store).await?;
        Ok(Ok(manifest.into()))
    }

    pub(super) async fn prepare(
        mut self,
        export: preparation::GuestIndices,
        file: String,
        text: String,
    ) -> CallResult<Result<preparation::Prepared, PrepareError>> {
        let guest = export.load(&mut self.store, &self.instance)?;
        let prepared = guest.call_prepare(&mut self.store, &file, &text).await?;
        Ok(Ok(prepared.map_err(PrepareError::Script)))
    }

    pub(super) async fn check(mut self, export: plugin::GuestIndices) -> CallResult<String> {
        let guest = export.load(&mut self.store, &self.instance)?;
        guest.call_check(&mut self.store).await
    }

    pub(super) async fn choices(
        mut self,
        export: plugin::GuestIndices,
        setting: String,
        search: String,
    ) -> CallResult<plugin::ChoicesPage> {
        let guest = export.load(&mut self.store, &self.instance)?;
        guest.call_choices(&mut self.store, &setting, &search).await
    }

    pub(super) async fn create(
        mut self,
        export: defects::GuestIndices,
        test: model::FailedTest,
        marker: String,
    ) -> CallResult<model::Defect> {
        let guest = export.load(&mut self.store, &self.instance)?;
        guest.call_create(&mut self.store, &test, &marker).await
    }

    pub(super) async fn find(
        mut self,
        export: defects::GuestIndices,
        marker: String,
    ) -> CallResult<Vec<model::Defect>> {
        let guest = export.load(&mut self.store, &self.instance)?;
        guest.call_find(&mut self.store, &marker).await
    }

    pub(super) async fn count(
        mut self,
        export: kpis::GuestIndices,
        project: String,
    ) -> CallResult<model::Counts> {
        let guest = export.load(&mut self.store, &self.instance)?;
        guest.call_count(&mut self.store, &project).await
    }

    pub(super) async fn state(
        mut self,
        export: follow_up::GuestIndices,
        key: String,
    ) -> CallResult<Option<follow_up::Current>> {
        let guest = export.load(&mut self.store, &self.instance)?;
        guest.call_state(&mut self.store, &key).await
    }

    pub(super) async fn comment(
        mut self,
        export: follow_up::GuestIndices,
        key: String,
        test: model::FailedTest,
        marker: String,
    ) -> CallResult<()> {
        let guest = export.load(&mut self.store, &self.instance)?;
        guest.call_comment(&mut self.store, &key, &test, &marker).await
    }

    pub(super) async fn find_comment(
        mut self,
        export: follow_up::GuestIndices,
        key: String,
        marker: String,
    ) -> CallResult<bool> {
        let guest = export.load(&mut self.store, &self.instance)?;
        guest.call_find_comment(&mut self.store, &key, &marker).await
    }

    pub(super) async fn reopen(
        mut self,
        export: follow_up::GuestIndices,
        key: String,
    ) -> CallResult<()> {
        let guest = export.load(&mut self.store, &self.instance)?;
        guest.call_reopen(&mut self.store, &key).await
    }

    pub(super) async fn attach(
        mut self,
        export: follow_up::GuestIndices,
        key: String,
        attachment: u32,
    ) -> CallResult<()> {
        let guest = export.load(&mut self.store, &self.instance)?;
        guest.call_attach(&mut self.store, &key, attachment).await
    }

    pub(super) async fn attached(
        mut self,
        export: follow_up::GuestIndices,
        key: String,
    ) -> CallResult<Vec<String>> {
        let guest = export.load(&mut self.store, &self.instance)?;
        guest.call_attached(&mut self.store, &key).await
    }
}

impl Drop for GuestInstance {
    fn drop(&mut self) {
        self.store.data_mut().record_handles();
    }
}

/// At each tick of the engine, a guest that computes yields, or traps if it has used up its CPU
/// time.
pub(super) fn new_store(
    engine: &Engine,
    guest: Guest,
    limits: &Limits,
    meter: Arc<Meter>,
) -> Store<Guest> {
    let mut store = Store::new(engine.wasmtime_engine(), guest);
    store.limiter(|guest| &mut guest.limiter);
    // Limits how many bytes each call of a host function, and each return of an export, copies from
    // the guest.
    store.call_hook(|mut store, hook| match hook {
        CallHook::CallingHost | CallHook::ReturningFromWasm => {
            let bytes = store.data().call_bytes_max();
            store.set_hostcall_fuel(bytes);
            Ok(())
        }
        CallHook::ReturningFromHost => store.data_mut().update_charges(),
        CallHook::CallingWasm => Ok(()),
    });
    store.set_epoch_deadline(1);
    let cpu_ms = limits.cpu_ms;
    store.epoch_deadline_callback(move |mut store| {
        store.data_mut().record_handles();
        if meter.spent_ms() >= cpu_ms {
            return Err(wasmtime::Error::new(ExceededLimit { name: "cpu_ms", value: cpu_ms }));
        }
        meter.count_yield();
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}
