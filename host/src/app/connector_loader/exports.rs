//! Finds functions that a component exports but its JavaScript file does not contain. A component
//! that was built from JavaScript exports all functions of its world, even if the file does not
//! contain them. So the exported functions are called, for a connection without any grant.
//!
//! No call can send a request.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::{Call, ConnectionId, ConnectorFault, FailedTest, Limits, Marker, Refusal};
use crate::egress::ActiveConnection;
use crate::report::ReportSettings;
use crate::runtime::{CallArguments, Connector, MemoryJournal, RunInput, Sandbox, TestReport};

/// Maximum time of one call, milliseconds. After a call that reached this or another limit, no
/// other function is called.
const RUN_MS_MAX: u64 = 3_000;
/// The key of the defect, the id of the project and the name of the setting in all calls.
const PLACEHOLDER: &str = "1";

pub(super) struct ExportCalls<'a> {
    sandbox: &'a Sandbox,
    connector: Arc<Connector>,
    /// A connection without any grant.
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

    /// Returns the objects and functions that the component exports but its JavaScript file does
    /// not contain, as sentences.
    pub(super) async fn find_missing_functions(&self) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        for (interface, calls) in self.exported_calls() {
            for call in calls {
                let outcome = self.call(*call).await;
                let Err(Refusal::ConnectorFault(fault)) = &outcome else { continue };
                // Another call would probably also reach the limit.
                if matches!(fault, ConnectorFault::Limit { .. }) {
                    return missing;
                }
                match parse_missing_export(&fault.to_string()) {
                    Some(MissingExport::Object) => {
                        missing.push(describe_missing_object(interface));
                        break;
                    }
                    Some(MissingExport::Function(name)) => {
                        missing.push(describe_missing_function(interface, &name))
                    }
                    None => {}
                }
            }
        }
        missing
    }

    /// Omits `describe`, which was called already.
    fn exported_calls(&self) -> impl Iterator<Item = (&'static str, &'static [Call])> {
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
            ("defects", defects, interfaces.exports_defects),
            ("kpis", kpis, interfaces.exports_kpis),
            ("follow-up", follow_up, interfaces.exports_follow_up),
        ]
        .into_iter()
        .filter_map(|(name, calls, is_exported)| is_exported.then_some((name, calls)))
    }

    async fn call(&self, call: Call) -> Result<(), Refusal> {
        let marker = Marker::derive(ConnectionId(Uuid::nil()), &self.test, 1);
        let run = RunInput::new(Arc::clone(&self.connector), Arc::clone(&self.active));
        let deadline = Instant::now() + Duration::from_millis(RUN_MS_MAX);
        let report = TestReport::new(self.test.clone(), ReportSettings::default(), None, deadline);
        let arguments = CallArguments {
            test: &self.test,
            marker: &marker,
            key: PLACEHOLDER,
            attachment: 0,
            project: PLACEHOLDER,
            choices_query: (PLACEHOLDER, ""),
            journal: MemoryJournal::new(marker.clone()),
            report: Arc::new(report),
        };
        self.sandbox.call(run, call, arguments).await.outcome.map(drop)
    }
}

/// An export that the component's JavaScript runtime does not find.
#[derive(Debug, PartialEq, Eq)]
enum MissingExport {
    /// The exported object of an interface.
    Object,
    /// A function of the exported object.
    Function(String),
}

/// Returns the missing export that an error message of the JavaScript runtime (QuickJS) names;
/// `None` if `detail`, the text of a fault, contains no such message.
fn parse_missing_export(detail: &str) -> Option<MissingExport> {
    if detail.contains("interface 'jackfield:connector/") && detail.contains("' not found") {
        return Some(MissingExport::Object);
    }
    let (_, after) = detail.split_once("function '")?;
    let (name, _) = after.split_once("' not found")?;
    Some(MissingExport::Function(name.to_owned()))
}

fn object_name(interface: &str) -> String {
    match interface {
        "follow-up" => "followUp".to_owned(),
        other => other.to_owned(),
    }
}

fn describe_missing_object(interface: &str) -> String {
    let object = object_name(interface);
    format!(
        "the world has `{interface}`, but the script does not export that object: add `export const \
         {object} = {{ … }}`, or build for a world without `{interface}`"
    )
}

fn describe_missing_function(interface: &str, name: &str) -> String {
    let object = object_name(interface);
    format!("the exported object `{object}` has no function `{name}`: add it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_object_or_function_is_read_from_the_error_message() {
        let object = "panicked at crates/runtime/src/interpreter.rs:35:35: interface \
                      'jackfield:connector/defects@0.1.0' not found: FromJs { from: \"undefined\" }";
        let function =
            "it printed: panicked at x: function 'find' not found: FromJs { from: \"int\" }";
        assert_eq!(parse_missing_export(object), Some(MissingExport::Object));
        assert_eq!(
            parse_missing_export(function),
            Some(MissingExport::Function("find".to_owned()))
        );
        for other in ["page not found", "cannot read property 'foo' of undefined", "function 'x"] {
            assert_eq!(parse_missing_export(other), None, "{other}");
        }
    }
}
