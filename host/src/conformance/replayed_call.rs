//! Calls the connector: with the tracker, or with a recording in which answers are replaced.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use serde_json::Value;

use crate::app::{Invocation, InvocationResult, Invoker, TapeResult};
use crate::config::Config;
use crate::connections::UnstoredConnection;
use crate::domain::{FailedTest, Marker, Refusal, RunReport};
use crate::egress::{ActiveConnection, Recording, Replay, Reply, SentRequest, Tape, TapeError};
use crate::runtime::{Connector, ExportAnswer};
use crate::secret::Secret;

use super::{Original, Scenario, Suite};

/// The value of a secret that was not entered. Any value is correct, because recordings contain no
/// credentials and requests are compared without them.
const PLACEHOLDER_SECRET: &str = "secret-of-the-conformance-test";
/// Maximum size of a secret, bytes.
const SECRET_BYTES_MAX: usize = 16 << 10;

/// Calls exports of the connector with the arguments of the suite.
pub(super) struct Caller {
    pub(super) invoker: Invoker,
    pub(super) connector: Arc<Connector>,
    file: PathBuf,
    test: FailedTest,
    project: String,
    calls: AtomicUsize,
}

/// Replays recorded calls, with or without faults.
pub(super) struct Replayer {
    caller: Caller,
    replay: Arc<Replay>,
    pub(super) connector: Arc<Connector>,
}

/// The result of a replayed call.
pub(super) struct ReplayedCall {
    /// What the export returned, or the reason why it returned nothing.
    pub(super) answer: Result<ExportAnswer, Refusal>,
    pub(super) report: RunReport,
    pub(super) marker: Marker,
    /// The requests that the call sent, in order.
    pub(super) requests: Vec<SentRequest>,
    /// The reason why a request had no recorded answer; absent if all requests had one.
    pub(super) missing_answer: Option<TapeError>,
}

impl Caller {
    pub(super) async fn start(config: Config, suite: &Suite, tape: Tape) -> anyhow::Result<Self> {
        let invoker = Invoker::start_with_tape(config, Some(tape))?;
        let connector = invoker.load(&suite.file).await?;
        Ok(Self {
            invoker,
            connector,
            file: suite.file.clone(),
            test: suite.test.clone(),
            project: suite.project.clone(),
            calls: AtomicUsize::new(0),
        })
    }

    pub(super) async fn call(
        &self,
        active: &Arc<ActiveConnection>,
        scenario: Scenario,
    ) -> anyhow::Result<InvocationResult> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let invocation = Invocation {
            file: self.file.clone(),
            call: scenario.call(),
            test: self.test.clone(),
            marker: scenario.marker(),
            key: String::new(),
            attachment: 0,
            project: self.project.clone(),
            choices_query: (String::new(), String::new()),
            test_data: None,
            notes: Vec::new(),
        };
        self.invoker.call(Arc::clone(&self.connector), Arc::clone(active), &invocation).await
    }
}

impl Replayer {
    pub(super) async fn start(config: Config, suite: &Suite) -> anyhow::Result<Self> {
        let replay = Arc::new(Replay::default());
        let caller = Caller::start(config, suite, Tape::Replay(Arc::clone(&replay))).await?;
        let connector = Arc::clone(&caller.connector);
        Ok(Self { caller, replay, connector })
    }

    /// Creates a connection with these values. A required secret that is missing gets a
    /// placeholder.
    pub(super) fn connect(
        &self,
        mut values: UnstoredConnection,
    ) -> anyhow::Result<Arc<ActiveConnection>> {
        for (name, text) in required_secrets(&self.connector.manifest().settings_schema) {
            values.secrets.entry(name).or_insert_with(|| Secret::new(text));
        }
        self.caller.invoker.connect(&self.connector, values)
    }

    /// Replays a recorded call once more, with `replies` instead of some recorded answers.
    pub(super) async fn replay_with_faults(
        &self,
        active: &Arc<ActiveConnection>,
        original: &Original,
        replies: BTreeMap<usize, Reply>,
    ) -> anyhow::Result<ReplayedCall> {
        self.replay(active, original.scenario, &original.recording, replies).await
    }

    pub(super) async fn replay(
        &self,
        active: &Arc<ActiveConnection>,
        scenario: Scenario,
        recording: &Recording,
        replies: BTreeMap<usize, Reply>,
    ) -> anyhow::Result<ReplayedCall> {
        self.replay.start(recording, replies);
        let InvocationResult { answer, report, marker, tape, .. } =
            self.caller.call(active, scenario).await?;
        let missing_answer = match tape {
            TapeResult::Replayed(Err(error)) => Some(error),
            _ => None,
        };
        Ok(ReplayedCall { answer, report, marker, requests: self.replay.sent(), missing_answer })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.caller.invoker.now()
    }

    /// Returns the number of calls that were made.
    pub(super) fn call_count(&self) -> usize {
        self.caller.calls.load(Ordering::Relaxed)
    }
}

/// Returns the required secrets of a settings schema, each with a valid placeholder.
fn required_secrets(schema: &Value) -> Vec<(String, String)> {
    let member = |name: &str| schema.get(name);
    let required: Vec<_> =
        member("required").and_then(Value::as_array).into_iter().flatten().collect();
    let properties = member("properties").and_then(Value::as_object).into_iter().flatten();
    let secrets = properties.filter(|(name, property)| {
        let is_secret = property.get("writeOnly").and_then(Value::as_bool) == Some(true);
        is_secret && required.iter().any(|required| required.as_str() == Some(name))
    });
    secrets
        .filter_map(|(name, property)| Some((name.clone(), placeholder_secret(property)?)))
        .collect()
}

/// Returns a valid value for a secret with this schema; `None` if the schema has a `pattern`.
pub(super) fn placeholder_secret(property: &Value) -> Option<String> {
    if property.get("pattern").is_some() {
        return None;
    }
    let length = |keyword| property.get(keyword).and_then(Value::as_u64);
    let length_min = usize::try_from(length("minLength").unwrap_or(0)).ok()?.min(SECRET_BYTES_MAX);
    let length_max = usize::try_from(length("maxLength").unwrap_or(u64::MAX)).ok()?;
    let chars = PLACEHOLDER_SECRET.chars().cycle().take(PLACEHOLDER_SECRET.len().max(length_min));
    Some(chars.take(length_max).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_required_secret_gets_a_placeholder_of_valid_length() {
        let schema = json!({"required": ["a", "b", "c", "url"], "properties": {
            "a": {"writeOnly": true}, "b": {"writeOnly": true, "minLength": 40},
            "c": {"writeOnly": true, "maxLength": 8}, "d": {"writeOnly": true}, "url": {}}});
        assert_eq!(placeholder_secret(&json!({"pattern": "^[0-9]+$"})), None);
        let lengths: Vec<_> = required_secrets(&schema)
            .into_iter()
            .map(|(name, value)| (name, value.len()))
            .collect();
        let expected = [("a", 30), ("b", 40), ("c", 8)].map(|(name, n)| (name.to_owned(), n));
        assert_eq!(lengths, expected);
        assert_eq!(required_secrets(&json!({})), []);
    }
}
