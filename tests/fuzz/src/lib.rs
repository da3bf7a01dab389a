//! The code that the fuzz targets share: the format of readable inputs, and the server and the
//! engine, which are started once.
//!
//! The code here does not decide what is right or wrong: each target asserts what must be true of
//! its inputs.

mod admin;
mod check;
mod message;

use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

pub use admin::{Admin, Answer};
pub use check::{CONNECTOR, Checked, check};
pub use message::Message;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    // One thread: the same input takes the same branches each time.
    Builder::new_current_thread().enable_all().build().expect("the async runtime starts")
});

/// Runs an async function of the host to completion.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}
