//! Tests each step of a network connection to an origin, for the try of a connection. Never sends a
//! request to the origin.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Origin, TryStep, TryStepResult};

use super::{ActiveConnection, Egress};
use crate::transport::{ConnectError, Route};

/// Maximum time of all steps together.
const PROBE_TIME_MAX: Duration = Duration::from_secs(10);

impl Egress {
    /// Resolves the host name, unless a proxy resolves it, and connects. For https, also makes the
    /// TLS handshake. Returns the steps in their order, up to and including the first failed step.
    pub async fn probe(&self, active: &ActiveConnection, origin: &Origin) -> Vec<TryStepResult> {
        let mut steps = Vec::new();
        if let Err(error) = self.probe_and_add_steps(active, origin, &mut steps).await {
            let (step, error) = (error.step(), Some(error.to_string()));
            let origin = Some(origin.clone());
            steps.push(TryStepResult { origin, error, ..TryStepResult::of(step) });
        }
        steps
    }

    async fn probe_and_add_steps(
        &self,
        active: &ActiveConnection,
        origin: &Origin,
        steps: &mut Vec<TryStepResult>,
    ) -> Result<(), ConnectError> {
        let until = Instant::now() + PROBE_TIME_MAX;
        let mut add_success = |step, note| {
            let origin = Some(origin.clone());
            steps.push(TryStepResult { origin, note, ..TryStepResult::of(step) });
        };
        let caller = active.caller_for(origin);
        let route = self.dialer.route(caller, origin, until).await?;
        let proxy = match &route {
            Route::Direct(_) => None,
            Route::Proxy(proxy) => Some(proxy),
        };
        add_success(TryStep::Dns, proxy.map(|_| "the proxy resolves the name".to_owned()));
        let stream = self.dialer.open_stream(caller, origin, &route, until).await?;
        add_success(TryStep::Connect, proxy.map(|proxy| format!("through the proxy {proxy}")));
        if origin.is_https() {
            let negotiated = self.dialer.negotiate(caller, origin, stream, until).await?;
            let has_certificate = caller.identity.map_err(Clone::clone)?.is_some();
            let note = match (negotiated.is_certificate_requested, has_certificate) {
                (true, true) => Some("with the client certificate"),
                (true, false) => Some(
                    "the server requests a client certificate, and continues without one; if it \
                     then refuses requests, set one with `jackfield connections edit NAME \
                     --client-cert FILE --client-key FILE`",
                ),
                (false, true) => {
                    Some("the server requests no client certificate, so none was sent")
                }
                (false, false) => None,
            };
            add_success(TryStep::Tls, note.map(str::to_owned));
        }
        Ok(())
    }
}
