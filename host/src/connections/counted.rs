//! Describes for an operator in which project of the tracker the defects are counted.
//!
//! The counts are made with the connection's own settings. Routing rules may create defects in
//! other projects, where defects are not counted.

use std::collections::BTreeSet;

use crate::domain::{Connection, Settings, shortened};
use crate::report::ReportSettings;

/// The setting that usually names the project. Settings that routing rules replace are shown too.
const PROJECT_SETTING: &str = "project";
/// Maximum number of other projects that the text names.
const OTHER_PROJECTS_MAX: usize = 10;
/// Maximum length of the name and the value of a setting together, bytes.
const VALUE_BYTES_MAX: usize = 100;

/// Returns a text such as `project = "qa"; not counted: defects that routing rules create with
/// project = "payments"`.
pub(super) fn describe_counted_project(connection: &Connection) -> String {
    let rules = ReportSettings::read(&connection.report).unwrap_or_default().routing;
    let replaced = rules.iter().flat_map(|rule| rule.settings.keys().map(String::as_str));
    let names: BTreeSet<_> = replaced.chain([PROJECT_SETTING]).collect();
    let describe = |settings: &Settings| {
        let set = names.iter().filter_map(|name| Some((*name, settings.get(*name)?)));
        let texts =
            set.map(|(name, value)| shortened(&format!("{name} = {value}"), VALUE_BYTES_MAX));
        texts.collect::<Vec<_>>().join(", ")
    };
    let counted_project = describe(&connection.settings);
    let mut elsewhere = Vec::new();
    for rule in &rules {
        let target = describe(&rule.applied_to(&connection.settings));
        if target != counted_project && !elsewhere.contains(&target) {
            elsewhere.push(target);
        }
    }
    if elsewhere.is_empty() {
        return counted_project;
    }
    let more = elsewhere.len().saturating_sub(OTHER_PROJECTS_MAX);
    elsewhere.truncate(OTHER_PROJECTS_MAX);
    if more > 0 {
        elsewhere.push(format!("{more} more"));
    }
    let elsewhere = elsewhere.join("; ");
    format!("{counted_project}; not counted: defects that routing rules create with {elsewhere}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::domain::ConnectionId;

    fn describe_counted(settings: Value, report: Value) -> String {
        let id = ConnectionId(uuid::Uuid::from_u128(1));
        let connector = "test".parse().unwrap();
        let connection =
            Connection::new(id, "qa".to_owned(), connector, jiff::Timestamp::UNIX_EPOCH);
        let (settings, report) = (from_value(settings).unwrap(), from_value(report).unwrap());
        describe_counted_project(&Connection { settings, report, ..connection })
    }

    #[test]
    fn the_text_names_the_counted_project_and_the_projects_of_routing_rules() {
        let rule = |settings| json!({"label": "a", "settings": settings});
        let own = json!({"url": "https://t.example", "project": "qa"});
        assert_eq!(describe_counted(json!({"url": "x"}), json!({})), "");
        assert_eq!(describe_counted(own.clone(), json!({})), r#"project = "qa""#);
        let to = |rules: &[Value]| describe_counted(own.clone(), json!({"routing": rules}));
        assert_eq!(to(&[rule(json!({"project": "qa"}))]), r#"project = "qa""#);
        assert_eq!(
            to(&[rule(json!({"project": "pay"})), rule(json!({"project": "pay"}))]),
            r#"project = "qa"; not counted: defects that routing rules create with project = "pay""#
        );
        assert_eq!(
            to(&[rule(json!({"team": 7}))]),
            r#"project = "qa"; not counted: defects that routing rules create with project = "qa", team = 7"#
        );
        let many: Vec<_> = (0..30).map(|n| rule(json!({"project": n.to_string()}))).collect();
        assert!(to(&many).ends_with("; 20 more"), "{}", to(&many));
    }
}
