//! Tests how far a connection to an origin gets, step by step, for `connections try`.
//!
//! Sends no request.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{ConnectionId, Origin, TryStep, TryStepResult};

use super::Egress;
use super::address::AddressRules;
use super::connect::ConnectError;

/// Longest time of all steps together.
const PROBE_MAX: Duration = Duration::from_secs(10);

impl Egress {
    /// Resolves, connects and, for https, does the TLS handshake, under the rules of a run.
    /// Returns the steps in their order; none follows a failed one.
    pub async fn probe(
        &self,
        connection: ConnectionId,
        origin: &Origin,
        allow_private: bool,
        public_only: bool,
        http1_only: bool,
    ) -> Vec<TryStepResult> {
        let until = Instant::now() + PROBE_MAX;
        let rules = AddressRules { allow_private, public_only };
        let mut steps = Vec::new();
        if let Err(error) =
            self.probe_steps(connection, origin, (rules, http1_only), until, &mut steps).await
        {
            steps.push(step_result(error.step(), origin, Some(error.to_string())));
        }
        steps
    }

    async fn probe_steps(
        &self,
        connection: ConnectionId,
        origin: &Origin,
        (rules, http1_only): (AddressRules, bool),
        until: Instant,
        steps: &mut Vec<TryStepResult>,
    ) -> Result<(), ConnectError> {
        let route = self.dialer.route(connection, origin, rules, until).await?;
        steps.push(step_result(TryStep::Dns, origin, None));
        let stream = self.dialer.open_stream(connection, origin, &route, until).await?;
        steps.push(step_result(TryStep::Connect, origin, None));
        if origin.is_https() {
            self.dialer.handshake(origin, stream, http1_only, until).await?;
            steps.push(step_result(TryStep::Tls, origin, None));
        }
        Ok(())
    }
}

fn step_result(step: TryStep, origin: &Origin, error: Option<String>) -> TryStepResult {
    TryStepResult { step, origin: Some(origin.clone()), error }
}
