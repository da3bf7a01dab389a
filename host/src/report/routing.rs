//! Routing rules. For some failed tests, they replace settings of the connection, for example the
//! project in the tracker. This module never fetches data.

use serde::{Deserialize, Serialize};

use crate::domain::Settings;

use super::{Subject, TestData};

/// A rule whose settings replace those of the connection for a failed test that meets all
/// conditions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutingRule {
    /// The prefix of the test's project, such as "SHOP". All conditions ignore case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The key or the name of the test set that was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_set: Option<String>,
    /// A label that the test case must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The key of a requirement that the test case must be assigned to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requirement: Option<String>,
    /// The new values, by the name of the setting. Other settings of the connection stay unchanged.
    pub settings: Settings,
}

impl RoutingRule {
    /// Returns the parts of the data that the conditions of this rule need.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        let conditions = [
            (&self.project, Subject::Project),
            (&self.test_set, Subject::TestSet),
            (&self.label, Subject::Labels),
            (&self.requirement, Subject::Requirements),
        ];
        conditions
            .into_iter()
            .filter_map(|(condition, subject)| condition.is_some().then_some(subject))
    }

    /// Returns a copy of `settings` in which this rule's settings replace those of the same name.
    #[must_use]
    pub fn applied_to(&self, settings: &Settings) -> Settings {
        let mut replaced = settings.clone();
        replaced.extend(self.settings.clone());
        replaced
    }

    /// Whether the data meets all conditions. A condition on missing data is never met.
    #[must_use]
    pub fn matches(&self, data: &TestData) -> bool {
        let project = data.project.as_ref().and_then(|project| project.prefix.as_deref());
        let test_set = data.test_set.as_ref();
        let test_set = test_set.map(|set| [set.key.as_deref(), set.name.as_deref()]);
        let requirements =
            data.requirements.iter().filter_map(|requirement| requirement.key.as_deref());
        is_met(self.project.as_deref(), project.into_iter())
            && is_met(self.test_set.as_deref(), test_set.into_iter().flatten().flatten())
            && is_met(self.label.as_deref(), data.labels.iter().map(String::as_str))
            && is_met(self.requirement.as_deref(), requirements)
    }
}

/// Whether one of the values equals the condition, ignoring case. True if there is no condition.
fn is_met<'v>(condition: Option<&str>, mut values: impl Iterator<Item = &'v str>) -> bool {
    condition.is_none_or(|condition| {
        values.any(|value| value.to_lowercase() == condition.to_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use crate::report::sample_test_data;

    use super::*;

    #[test]
    fn a_rule_matches_if_all_its_conditions_are_met() {
        let some = |text: &str| Some(text.to_owned());
        let rule = RoutingRule::default;
        for (rule, matches) in [
            (rule(), true),
            (RoutingRule { project: some("shop"), ..rule() }, true),
            (RoutingRule { test_set: some("SHOP:40"), ..rule() }, true),
            (RoutingRule { test_set: some("smoke test"), label: some("checkout"), ..rule() }, true),
            (RoutingRule { test_set: some("smoke test"), label: some("other"), ..rule() }, false),
            (RoutingRule { requirement: some("SHOP:7"), ..rule() }, true),
            (RoutingRule { requirement: some("SHOP:8"), ..rule() }, false),
        ] {
            assert_eq!(rule.matches(&sample_test_data()), matches, "{rule:?}");
        }
        let on_missing_data = RoutingRule { project: some("SHOP"), ..rule() };
        assert!(!on_missing_data.matches(&TestData::default()));
    }
}
