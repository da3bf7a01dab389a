//! Picks the concrete parts, wires them, runs them, and shuts them down in order.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::secret::Secret;

/// A server that is ready to serve.
pub struct App {
    address: SocketAddr,
    admin_token: Secret,
}

impl App {
    /// Opens everything that serving needs; nothing is served yet.
    ///
    /// # Errors
    /// One line that says what cannot be opened and how to mend it.
    #[expect(clippy::unused_async, reason = "the parts that it starts are being merged")]
    pub async fn start(config: Config, admin_token: Option<Secret>) -> anyhow::Result<Self> {
        let admin_token = admin_token.ok_or_else(|| anyhow::anyhow!("no parts are wired yet"))?;
        Ok(Self { address: config.listen, admin_token })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that opens the admin API.
    #[must_use]
    pub fn admin_token(&self) -> &Secret {
        &self.admin_token
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// A listener failed.
    pub async fn run_until(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        shutdown.cancelled().await;
        Ok(())
    }
}
