//! Calls of the connector: with the tracker, and with a recording of which answers are replaced.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use serde_json::Value;

use crate::app::{Invocation, Invoked, Invoker, TapeEnd};
use crate::config::Config;
use crate::connections::Unstored;
use crate::domain::{FailedTest, Marker, Refusal, RunReport};
use crate::egress::{ActiveConnection, Recording, Replay, Reply, SentRequest, Tape, TapeError};
use crate::runtime::{Connector, ExportAnswer};
use crate::secret::Secret;

use super::{Original, Scenario, Suite};

/// The value of a secret that is not given. A recording has no credentials and compares none.
const ANY_SECRET: &str = "secret-of-the-conformance-test";
/// The longest secret.
const SECRET_BYTES_MAX: usize = 16 << 10;

/// Calls exports with the arguments of a suite.
pub(super) struct Caller {
    pub(super) invoker: Invoker,
    pub(super) connector: Arc<Connector>,
    file: PathBuf,
    test: FailedTest,
    project: String,
    calls: AtomicUsize,
}

/// Replays calls.
pub(super) struct Replayer {
    caller: Caller,
    replay: Arc<Replay>,
    pub(super) connector: Arc<Connector>,
}

/// A replayed call that ended.
pub(super) struct ReplayedCall {
    /// What the export returned, or why there is nothing.
    pub(super) answer: Result<ExportAnswer, Refusal>,
    pub(super) report: RunReport,
    pub(super) marker: Marker,
    /// The requests, in order.
    pub(super) sent: Vec<SentRequest>,
    /// Why a request had no recorded answer.
    pub(super) missing: Option<TapeError>,
}

impl Caller {
    pub(super) async fn start(config: Config, suite: &Suite, tape: Tape) -> anyhow::Result<Self> {
        let invoker = Invoker::start_with(config, Some(tape))?;
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
    ) -> anyhow::Result<Invoked> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let asked = Invocation {
            file: self.file.clone(),
            call: scenario.call(),
            test: self.test.clone(),
            marker: scenario.marker(),
            key: String::new(),
            attachment: 0,
            project: self.project.clone(),
            choices_of: (String::new(), String::new()),
            test_data: None,
            notes: Vec::new(),
        };
        self.invoker.call(Arc::clone(&self.connector), Arc::clone(active), &asked).await
    }
}

impl Replayer {
    pub(super) async fn start(config: Config, suite: &Suite) -> anyhow::Result<Self> {
        let replay = Arc::new(Replay::default());
        let caller = Caller::start(config, suite, Tape::Replay(Arc::clone(&replay))).await?;
        let connector = Arc::clone(&caller.connector);
        Ok(Self { caller, replay, connector })
    }

    /// A connection with these values. A required secret that is missing gets any value.
    pub(super) fn connect(&self, mut values: Unstored) -> anyhow::Result<Arc<ActiveConnection>> {
        for (name, text) in missing_secrets(&self.connector.manifest().settings_schema) {
            values.secrets.entry(name).or_insert_with(|| Secret::new(text));
        }
        self.caller.invoker.connect(&self.connector, values)
    }

    /// Replays a recorded call once more, with these answers replaced.
    pub(super) async fn run(
        &self,
        active: &Arc<ActiveConnection>,
        original: &Original,
        replaced: BTreeMap<usize, Reply>,
    ) -> anyhow::Result<ReplayedCall> {
        self.replay(active, original.scenario, &original.recording, replaced).await
    }

    pub(super) async fn replay(
        &self,
        active: &Arc<ActiveConnection>,
        scenario: Scenario,
        recording: &Recording,
        replaced: BTreeMap<usize, Reply>,
    ) -> anyhow::Result<ReplayedCall> {
        self.replay.start(recording, replaced);
        let Invoked { answer, report, marker, tape, .. } =
            self.caller.call(active, scenario).await?;
        let missing = match tape {
            TapeEnd::Replayed(Err(missing)) => Some(missing),
            _ => None,
        };
        Ok(ReplayedCall { answer, report, marker, sent: self.replay.sent(), missing })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.caller.invoker.now()
    }

    /// How many calls were made.
    pub(super) fn call_count(&self) -> usize {
        self.caller.calls.load(Ordering::Relaxed)
    }
}

/// The required secrets of a settings schema, each with a value that it may have.
fn missing_secrets(schema: &Value) -> Vec<(String, String)> {
    let member = |name: &str| schema.get(name);
    let required: Vec<_> =
        member("required").and_then(Value::as_array).into_iter().flatten().collect();
    let properties = member("properties").and_then(Value::as_object).into_iter().flatten();
    let secrets = properties.filter(|(name, property)| {
        let is_secret = property.get("writeOnly").and_then(Value::as_bool) == Some(true);
        is_secret && required.iter().any(|it| it.as_str() == Some(name))
    });
    secrets.filter_map(|(name, property)| Some((name.clone(), any_secret(property)?))).collect()
}

/// A value that a secret with this schema may have; none if it has a `pattern`.
pub(super) fn any_secret(property: &Value) -> Option<String> {
    if property.get("pattern").is_some() {
        return None;
    }
    let length = |keyword| property.get(keyword).and_then(Value::as_u64);
    let at_least = usize::try_from(length("minLength").unwrap_or(0)).ok()?.min(SECRET_BYTES_MAX);
    let at_most = usize::try_from(length("maxLength").unwrap_or(u64::MAX)).ok()?;
    let chars = ANY_SECRET.chars().cycle().take(ANY_SECRET.len().max(at_least));
    Some(chars.take(at_most).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_required_secret_gets_a_value_of_its_length() {
        let schema = json!({"required": ["a", "b", "c", "url"], "properties": {
            "a": {"writeOnly": true}, "b": {"writeOnly": true, "minLength": 40},
            "c": {"writeOnly": true, "maxLength": 8}, "d": {"writeOnly": true}, "url": {}}});
        assert_eq!(any_secret(&json!({"pattern": "^[0-9]+$"})), None);
        let lengths: Vec<_> =
            missing_secrets(&schema).into_iter().map(|(name, value)| (name, value.len())).collect();
        let expected = [("a", 30), ("b", 40), ("c", 8)].map(|(name, n)| (name.to_owned(), n));
        assert_eq!(lengths, expected);
        assert_eq!(missing_secrets(&json!({})), []);
    }
}
