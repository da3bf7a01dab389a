//! The code that the fuzz targets share: the format of inputs that a person can read, and a server
//! and an engine that are started only once. It asserts only what must be true for all inputs.

mod admin;
mod check;
mod message;

use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

pub use admin::{Answer, FuzzedServer};
pub use check::{CONNECTOR, CheckResult, check};
pub use message::InputRequest;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    // The runtime has one thread, so that the same input takes the same branches each time.
    Builder::new_current_thread().enable_all().build().expect("the async runtime starts")
});

/// Runs an async function of the host to completion, and returns its result.
pub fn run_to_completion<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}
