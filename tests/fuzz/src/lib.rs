//! What the fuzz targets share: the form of their readable inputs, and the benches that are set up once.
//!
//! Knows nothing of what is right or wrong: what must hold of an input stands in its target.

mod admin;
mod checker;
mod message;

use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

pub use admin::{Admin, Answer};
pub use checker::{CONNECTOR, Checked, check};
pub use message::Message;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    // One thread: the same input takes the same branches each time.
    Builder::new_current_thread().enable_all().build().expect("a runtime")
});

/// Runs to its end what the host does asynchronously.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}
