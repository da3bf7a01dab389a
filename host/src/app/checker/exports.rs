//! Calls each function that a component exports, for a connection without any grant: a component
//! made of a script exports what its world says, also if the script does not have it.
//!
//! No call can send a request. What a call returns does not matter; only a runtime that says that
//! the script has no such object or function does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::{Call, ConnectionId, ConnectorFault, FailedTest, Limits, Marker, Refusal};
use crate::egress::ActiveConnection;
use crate::report::ReportSettings;
use crate::runtime::{CallArguments, Connector, MemoryJournal, Run, Sandbox, TestReport};

/// The longest call; a guest that waits for something is not asked any more.
const RUN_MS_MAX: u64 = 3_000;
/// What a defect and a project are called.
const KEY: &str = "1";

/// Calls what a component exports.
pub(super) struct ExportCalls<'a> {
    sandbox: &'a Sandbox,
    connector: Arc<Connector>,
    active: Arc<ActiveConnection>,
    test: FailedTest,
}

impl<'a> ExportCalls<'a> {
    pub(super) fn new(sandbox: &'a Sandbox, connector: &Connector, limits: Limits) -> Self {
        let limits = Limits { run_ms: limits.run_ms.min(RUN_MS_MAX), ..limits };
        Self {
            sandbox,
            connector: Arc::new(connector.with_limits(limits)),
            active: Arc::new(ActiveConnection::without_grants()),
            test: FailedTest::new(Uuid::nil(), Uuid::nil(), None, None),
        }
    }

    /// What the component says it exports and its script does not have, as sentences.
    pub(super) async fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        for (interface, calls) in self.exported() {
            for call in calls {
                let end = self.call(*call).await;
                let Err(Refusal::ConnectorFault(fault)) = &end else { continue };
                // Another call would need as long.
                if matches!(fault, ConnectorFault::Limit { .. }) {
                    return missing;
                }
                match not_found(&fault.to_string()) {
                    Some(NotFound::Object) => {
                        missing.push(no_object(interface));
                        break;
                    }
                    Some(NotFound::Function(name)) => missing.push(no_function(interface, &name)),
                    None => {}
                }
            }
        }
        missing
    }

    fn exported(&self) -> impl Iterator<Item = (&'static str, &'static [Call])> {
        let interfaces = self.connector.interfaces();
        let follow_up: &[Call] = &[
            Call::State,
            Call::Comment,
            Call::FindComment,
            Call::Reopen,
            Call::Attach,
            Call::Attached,
        ];
        let plugin: &[Call] = &[Call::Check, Call::Choices];
        let defects: &[Call] = &[Call::Create, Call::Find];
        let kpis: &[Call] = &[Call::Count];
        [
            ("plugin", plugin, true),
            ("defects", defects, interfaces.defects),
            ("kpis", kpis, interfaces.kpis),
            ("follow-up", follow_up, interfaces.follow_up),
        ]
        .into_iter()
        .filter_map(|(name, calls, is_exported)| is_exported.then_some((name, calls)))
    }

    async fn call(&self, call: Call) -> Result<(), Refusal> {
        let marker = Marker::derive(ConnectionId(Uuid::nil()), &self.test, 1);
        let run = Run::new(Arc::clone(&self.connector), Arc::clone(&self.active));
        let until = Instant::now() + Duration::from_millis(RUN_MS_MAX);
        let report = TestReport::new(self.test.clone(), ReportSettings::default(), None, until);
        let arguments = CallArguments {
            test: &self.test,
            marker: &marker,
            key: KEY,
            attachment: 0,
            project: KEY,
            choices_of: (KEY, ""),
            journal: MemoryJournal::new(marker.clone()),
            report: Arc::new(report),
        };
        self.sandbox.call(run, call, arguments).await.outcome.map(drop)
    }
}

/// What a JavaScript runtime does not find in a script.
#[derive(Debug, PartialEq, Eq)]
enum NotFound {
    /// The exported object of an interface.
    Object,
    /// A function of the exported object.
    Function(String),
}

/// Reads the words of the JavaScript runtime (QuickJS) in the detail of a run.
fn not_found(detail: &str) -> Option<NotFound> {
    if detail.contains("interface 'jackfield:connector/") && detail.contains("' not found") {
        return Some(NotFound::Object);
    }
    let (_, after) = detail.split_once("function '")?;
    let (name, _) = after.split_once("' not found")?;
    Some(NotFound::Function(name.to_owned()))
}

/// The name of an interface's object in JavaScript.
fn object(interface: &str) -> String {
    match interface {
        "follow-up" => "followUp".to_owned(),
        other => other.to_owned(),
    }
}

fn no_object(interface: &str) -> String {
    let object = object(interface);
    format!(
        "the world has `{interface}`, but the script does not export that object: add `export const \
         {object} = {{ … }}`, or build for a world without `{interface}`"
    )
}

fn no_function(interface: &str, name: &str) -> String {
    let object = object(interface);
    format!("the exported object `{object}` has no function `{name}`: add it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_says_which_object_or_function_a_script_lacks() {
        let object = "panicked at crates/runtime/src/interpreter.rs:35:35: interface \
                      'jackfield:connector/defects@0.1.0' not found: FromJs { from: \"undefined\" }";
        let function =
            "it printed: panicked at x: function 'find' not found: FromJs { from: \"int\" }";
        assert_eq!(not_found(object), Some(NotFound::Object));
        assert_eq!(not_found(function), Some(NotFound::Function("find".to_owned())));
        for other in ["page not found", "cannot read property 'foo' of undefined", "function 'x"] {
            assert_eq!(not_found(other), None, "{other}");
        }
    }
}
