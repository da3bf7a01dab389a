//! Describes in words for an operator which project of the tracker the counts are about.
//!
//! Counts use the connection's own settings. Routing rules may file defects elsewhere, where they
//! are not counted.

use std::collections::BTreeSet;

use crate::domain::{Connection, Settings, shortened};
use crate::report::ReportSettings;

/// The setting that usually names the project. Settings that routing rules replace count too.
const PROJECT: &str = "project";
/// Maximum number of places that are named besides the counted one.
const OTHER_PLACES_MAX: usize = 10;
/// Maximum length of a name and its value together, bytes.
const VALUE_BYTES_MAX: usize = 100;

/// A text such as
/// `project = "qa"; not counted: defects that routing rules create with project = "payments"`.
/// Empty if no setting tells projects apart.
pub(super) fn counted_in(connection: &Connection) -> String {
    let rules = ReportSettings::read(&connection.report).unwrap_or_default().routing;
    let replaced = rules.iter().flat_map(|rule| rule.settings.keys().map(String::as_str));
    let names: BTreeSet<_> = replaced.chain([PROJECT]).collect();
    let place = |settings: &Settings| {
        let named = names.iter().filter_map(|name| Some((*name, settings.get(*name)?)));
        let named =
            named.map(|(name, value)| shortened(&format!("{name} = {value}"), VALUE_BYTES_MAX));
        named.collect::<Vec<_>>().join(", ")
    };
    let own = place(&connection.settings);
    let mut elsewhere = Vec::new();
    for rule in &rules {
        let there = place(&rule.applied_to(&connection.settings));
        if there != own && !elsewhere.contains(&there) {
            elsewhere.push(there);
        }
    }
    if elsewhere.is_empty() {
        return own;
    }
    let more = elsewhere.len().saturating_sub(OTHER_PLACES_MAX);
    elsewhere.truncate(OTHER_PLACES_MAX);
    if more > 0 {
        elsewhere.push(format!("{more} more"));
    }
    format!("{own}; not counted: defects that routing rules create with {}", elsewhere.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::domain::ConnectionId;

    fn counted(settings: Value, report: Value) -> String {
        let id = ConnectionId(uuid::Uuid::from_u128(1));
        let connector = "test".parse().unwrap();
        let connection =
            Connection::new(id, "qa".to_owned(), connector, jiff::Timestamp::UNIX_EPOCH);
        let (settings, report) = (from_value(settings).unwrap(), from_value(report).unwrap());
        counted_in(&Connection { settings, report, ..connection })
    }

    #[test]
    fn the_counted_project_and_the_projects_of_rules_are_named() {
        let rule = |settings| json!({"label": "a", "settings": settings});
        let own = json!({"url": "https://t.example", "project": "qa"});
        assert_eq!(counted(json!({"url": "x"}), json!({})), "");
        assert_eq!(counted(own.clone(), json!({})), r#"project = "qa""#);
        let to = |rules: &[Value]| counted(own.clone(), json!({"routing": rules}));
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
