//! Checks the settings of a connection's report before they are stored, and renders a preview. This
//! file never creates anything in a tracker.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::domain::{Connection, ConnectionId, FailedTest, Settings, is_host_secret};
use crate::manifest::{Manifest, SettingError};
use crate::report::{MaskSettings, Report, ReportSettings, RoutingRule, SettingsProblem, TestData};
use crate::store::StoreError;

use super::routing::first_matching_rule;
use super::{ConnectionError, Connections};

/// A preview of the defect that a connector would create for a failed test.
#[derive(Debug)]
pub struct Preview {
    /// The rendered report: title, texts, fields and attachments.
    pub report: Report,
    /// The settings that the matching routing rule sets; empty if no rule matches.
    pub rule_settings: Settings,
}

impl Connections {
    /// Renders the report of a failed test. `edit` changes the stored settings for this preview
    /// only. Everything that the stored settings mask is masked in any case, because some accounts
    /// may see previews but may not change settings.
    ///
    /// # Errors
    /// The connection does not exist, some settings of the report are not valid, or the stored mask
    /// cannot be read.
    pub async fn preview(
        &self,
        id: ConnectionId,
        test: &FailedTest,
        edit: BTreeMap<String, Option<Value>>,
    ) -> Result<Preview, ConnectionError> {
        let active = self.active(id);
        let active = active.ok_or(ConnectionError::Store(StoreError::NotFound("connection")))?;
        let mut object = active.connection.report.clone();
        change_members(&mut object, edit);
        let mut settings = ReportSettings::check(&object).map_err(invalid_settings)?;
        let stored = read_mask(&active.connection.report).map_err(invalid_settings)?;
        settings.mask.include(stored);
        let limits = self.limits(&active.connection);
        let deadline = Instant::now() + Duration::from_millis(limits.create_answer_ms);
        let source = self.deps.test_manager.source(&active, test, &limits);
        let routing =
            first_matching_rule(&settings.routing, test, source.as_deref(), deadline).await;
        let data = match source {
            Some(source) => source.fetch(&settings.subjects(), deadline).await,
            None => TestData::from_webhook_ids(test),
        };
        let notes: Vec<_> = routing.note().into_iter().collect();
        let report = Report::with_notes(&settings, data, &notes);
        Ok(Preview { report, rule_settings: routing.settings() })
    }
}

/// Reads only the mask of stored settings, because other members may no longer be valid.
fn read_mask(report: &Settings) -> Result<MaskSettings, Vec<SettingsProblem>> {
    let mask = report.iter().filter(|(member, _)| *member == "mask");
    let mask = mask.map(|(member, value)| (member.clone(), value.clone())).collect();
    Ok(ReportSettings::read(&mask)?.mask)
}

fn invalid_settings(problems: Vec<SettingsProblem>) -> ConnectionError {
    ConnectionError::Invalid(problems.into_iter().map(setting_error).collect())
}

/// Sets members of a JSON object; the value `None` removes a member.
pub(super) fn change_members(object: &mut Settings, edit: BTreeMap<String, Option<Value>>) {
    for (member, value) in edit {
        match value {
            Some(value) => object.insert(member, value),
            None => object.remove(&member),
        };
    }
}

/// Returns the errors in the settings of a connection's report. If there are none, returns the
/// errors in the settings that its routing rules set.
pub(super) fn problems(connection: &Connection, manifest: &Manifest) -> Vec<SettingError> {
    let settings = match ReportSettings::check(&connection.report) {
        Ok(settings) => settings,
        Err(problems) => return problems.into_iter().map(setting_error).collect(),
    };
    let rules = settings.routing.iter().enumerate();
    rules.flat_map(|(index, rule)| rule_problems(index, rule, connection, manifest)).collect()
}

/// Returns the errors in the settings that a rule sets. A rule may set only settings of the
/// connector. A rule must not set secrets, nor change where requests and secrets are sent.
pub(super) fn rule_problems(
    index: usize,
    rule: &RoutingRule,
    connection: &Connection,
    manifest: &Manifest,
) -> Vec<SettingError> {
    let member = |setting: &str| format!("report.routing[{index}].settings.{setting}");
    let settings = rule.applied_to(&connection.settings);
    let secrets = connection.secrets_set.iter().filter(|name| !is_host_secret(name));
    let secrets: Vec<_> = secrets.cloned().collect();
    let is_replaced = |setting: &str| rule.settings.contains_key(setting);
    if let Err(errors) = manifest.validate(&settings, &secrets, is_replaced) {
        let renamed = |error: SettingError| SettingError { name: member(&error.name), ..error };
        return errors.into_iter().map(renamed).collect();
    }
    let grants = |settings| manifest.required_grants(settings).ok();
    if grants(&settings) == grants(&connection.settings) {
        return Vec::new();
    }
    let why = "a rule cannot change where requests or secrets are sent".to_owned();
    vec![SettingError { name: format!("report.routing[{index}].settings"), why }]
}

fn setting_error(problem: SettingsProblem) -> SettingError {
    SettingError { name: format!("report.{}", problem.member), why: problem.why }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_stored_mask_is_read_even_if_other_settings_are_no_longer_valid() {
        let stored = |mask| {
            let report = json!({"mask": mask, "unknown": 1, "title_template": "{{"});
            read_mask(report.as_object().unwrap())
        };
        assert_eq!(stored(json!({"names": ["city"]})).unwrap().names, ["city"]);
        assert_eq!(read_mask(&Settings::default()).unwrap(), MaskSettings::default());
        assert!(stored(json!({"names": "city"})).is_err());
    }
}
