//! Calls the exports of a connector, with a tracker or with a recording in which the suite replaces
//! answers. This module checks nothing.

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
use crate::runtime::{Connector, ReturnedValue};
use crate::secret::Secret;

use super::{OriginalCall, Scenario, Suite};

/// The text of a placeholder for a secret. A recording uses it as a wrong secret. A replay uses it
/// for a secret that a person did not enter, because requests are compared without credentials.
const PLACEHOLDER_SECRET: &str = "secret-of-the-conformance-test";
/// Maximum size of a placeholder for a secret, bytes.
const SECRET_BYTES_MAX: usize = 16 << 10;

pub(super) struct Caller {
    pub(super) invoker: Invoker,
    pub(super) connector: Arc<Connector>,
    file: PathBuf,
    test: FailedTest,
    /// The Test Manager project with which `count` is called.
    project: String,
    call_count: AtomicUsize,
}

pub(super) struct Replayer {
    caller: Caller,
    /// The recording that answers the requests of the connector.
    tape: Arc<Replay>,
    pub(super) connector: Arc<Connector>,
}

pub(super) struct ReplayedCall {
    /// What the export returned, or the reason why the call failed.
    pub(super) answer: Result<ReturnedValue, Refusal>,
    pub(super) report: RunReport,
    /// The marker with which the export was called.
    pub(super) marker: Marker,
    /// The requests that the call sent, in order.
    pub(super) requests: Vec<SentRequest>,
    /// The reason why a request had no recorded answer.
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
            test: suite.failed_test.clone(),
            project: suite.project.clone(),
            call_count: AtomicUsize::new(0),
        })
    }

    /// Calls the export that the scenario names.
    pub(super) async fn call_export(
        &self,
        active: &Arc<ActiveConnection>,
        scenario: Scenario,
    ) -> anyhow::Result<InvocationResult> {
        self.call_count.fetch_add(1, Ordering::Relaxed);
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
        let tape = Arc::new(Replay::default());
        let caller = Caller::start(config, suite, Tape::Replay(Arc::clone(&tape))).await?;
        let connector = Arc::clone(&caller.connector);
        Ok(Self { caller, tape, connector })
    }

    /// Creates a connection with these settings and secrets and, where possible, with placeholders
    /// for missing required secrets.
    pub(super) fn connect(
        &self,
        mut values: UnstoredConnection,
    ) -> anyhow::Result<Arc<ActiveConnection>> {
        for (name, text) in required_secrets(&self.connector.manifest().settings_schema) {
            values.secrets.entry(name).or_insert_with(|| Secret::new(text));
        }
        self.caller.invoker.new_connection(&self.connector, values)
    }

    /// `replies` replace recorded answers, by the index of the request.
    pub(super) async fn replay_with_faults(
        &self,
        active: &Arc<ActiveConnection>,
        original: &OriginalCall,
        replies: BTreeMap<usize, Reply>,
    ) -> anyhow::Result<ReplayedCall> {
        self.replay(active, original.scenario, &original.recording, replies).await
    }

    /// `replies` replace recorded answers, by the index of the request.
    pub(super) async fn replay(
        &self,
        active: &Arc<ActiveConnection>,
        scenario: Scenario,
        recording: &Recording,
        replies: BTreeMap<usize, Reply>,
    ) -> anyhow::Result<ReplayedCall> {
        self.tape.start_run(recording, replies);
        let InvocationResult { answer, report, marker, tape_result, .. } =
            self.caller.call_export(active, scenario).await?;
        let missing_answer = match tape_result {
            TapeResult::Replayed(Err(error)) => Some(error),
            _ => None,
        };
        Ok(ReplayedCall {
            answer,
            report,
            marker,
            requests: self.tape.sent_requests(),
            missing_answer,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.caller.invoker.now()
    }

    pub(super) fn call_count(&self) -> usize {
        self.caller.call_count.load(Ordering::Relaxed)
    }
}

/// Returns a placeholder for each required secret for which one can be made.
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

/// `None` if the schema has a `pattern`, because the value might not match it.
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
