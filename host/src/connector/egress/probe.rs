//! How far a connection to an origin comes, step by step, for the admin's `try`. Sends no request.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Origin;

use super::Egress;
use super::address::Rules;
use super::connect::{NoConnection, Step};

/// Longest time of all steps together.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// One step towards an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeStep {
    /// `dns`, `connect` or `tls`.
    pub name: &'static str,
    /// What went wrong; absent: it went well.
    pub error: Option<String>,
}

impl Egress {
    /// Under the rules of a run: resolves, connects and (for https) agrees on TLS; the steps in their order, none after a
    /// failed one.
    pub async fn probe(
        &self,
        origin: &Origin,
        allow_private: bool,
        public_only: bool,
    ) -> Vec<ProbeStep> {
        let until = Instant::now() + PROBE_MAX;
        let rules = Rules { allow_private, public_only };
        let went_well = |step: Step| ProbeStep { name: step.as_str(), error: None };
        let failed =
            |none: NoConnection| ProbeStep { name: none.step.as_str(), error: Some(none.why) };
        let mut steps = Vec::new();
        let route = match self.route(origin, rules, until).await {
            Ok(route) => route,
            Err(none) => return vec![failed(none)],
        };
        steps.push(went_well(Step::Dns));
        let io = match self.dial(origin, &route, until).await {
            Ok(io) => io,
            Err(none) => {
                steps.push(failed(none));
                return steps;
            }
        };
        steps.push(went_well(Step::Connect));
        if origin.is_https() {
            let agreed = self.agree(origin, io, until).await;
            steps.push(agreed.map_or_else(failed, |_| went_well(Step::Tls)));
        }
        steps
    }
}
