//! Finds out which environment variables set a key of the configuration, and which only look like
//! settings.
//!
//! An unknown variable never prevents the start of the server, because platforms, images and
//! scripts set variables that are not meant for the server.

use std::sync::LazyLock;

use regex::Regex;

use crate::domain::{Limits, nearest, printable};

use super::read::{CREATE_KEYS, TOP_LEVEL_KEYS, WEBHOOK_KEYS};
use super::{oidc, traces};

const VARIABLE_PREFIX: &str = "JACKFIELD_";
/// Variables of Jackfield that are not keys of the configuration.
const OTHER_VARIABLES: [&str; 4] =
    ["JACKFIELD_ADMIN_TOKEN", "JACKFIELD_NEW_SECRET_KEY", "JACKFIELD_SECRET_KEY", "JACKFIELD_URL"];

/// The name of a table ("" for the top level), and a key in this table.
pub(super) type TableAndKey = (&'static str, &'static str);

pub(super) fn key_of_variable(name: &str) -> Option<TableAndKey> {
    all_keys().find(|key| variable_name(*key).eq_ignore_ascii_case(name))
}

fn all_keys() -> impl Iterator<Item = TableAndKey> {
    let table = |table| move |key| (table, key);
    TOP_LEVEL_KEYS
        .into_iter()
        .map(table(""))
        .chain(WEBHOOK_KEYS.into_iter().map(table("webhook")))
        .chain(CREATE_KEYS.into_iter().map(table("create")))
        .chain(oidc::KEYS.into_iter().map(table("oidc")))
        .chain(traces::KEYS.into_iter().map(table("traces")))
        .chain(Limits::TABLE.iter().map(|limit| limit.name).map(table("limits")))
}

fn variable_name((table, key): TableAndKey) -> String {
    let separator = if table.is_empty() { "" } else { "_" };
    format!("{VARIABLE_PREFIX}{table}{separator}{key}").to_ascii_uppercase()
}

/// A variable whose name begins with one of `secret_prefixes` is a secret and is not reported.
/// Empty variables and those of Kubernetes are not reported either.
pub(super) fn unknown_variables(
    env: impl Iterator<Item = (String, String)>,
    secret_prefixes: &[String],
) -> Vec<String> {
    let is_secret = |name: &str| secret_prefixes.iter().any(|prefix| name.starts_with(prefix));
    let is_unknown = |(name, text): &(String, String)| {
        name.starts_with(VARIABLE_PREFIX)
            && !text.trim().is_empty()
            && key_of_variable(name).is_none()
            && !OTHER_VARIABLES.contains(&name.as_str())
            && !is_secret(name)
            && !is_kubernetes_service(name, text)
    };
    let known_variables: Vec<String> =
        all_keys().map(variable_name).chain(OTHER_VARIABLES.map(str::to_owned)).collect();
    let report = |(name, _): (String, String)| {
        // If a name only lacks its table, such as JACKFIELD_IN_DOUBT_S, the name with the table is
        // a better suggestion than the most similar name.
        let suffix =
            name.strip_prefix(VARIABLE_PREFIX).map(|key| format!("_{key}")).unwrap_or_default();
        let with_table =
            known_variables.iter().find(|known| known.ends_with(&suffix)).map(String::as_str);
        let similar =
            || nearest(&name, known_variables.iter().map(String::as_str)).map(|(known, _)| known);
        let nearest = with_table.or_else(similar).unwrap_or_default();
        format!("{} is not a setting and is ignored; the nearest is {nearest}", printable(&name))
    };
    let mut reports: Vec<String> = env.filter(is_unknown).map(report).collect();
    reports.sort_unstable();
    reports
}

/// Whether a variable looks like one that a container platform sets for a service whose name begins
/// with `jackfield`.
fn is_kubernetes_service(name: &str, text: &str) -> bool {
    SERVICE_VARIABLE_NAME.is_match(name) || name.ends_with("_PORT") && text.contains("://")
}

/// Source: the section "Environment variables" on the page "Service" of the Kubernetes
/// documentation.
#[expect(clippy::expect_used, reason = "a constant pattern, covered by the tests below")]
static SERVICE_VARIABLE_NAME: LazyLock<Regex> = LazyLock::new(|| {
    let pattern =
        r"_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$";
    Regex::new(pattern).expect("a valid pattern")
});

#[cfg(test)]
mod tests {
    use super::*;

    fn report_unknown_variables(env: &[(&str, &str)]) -> Vec<String> {
        let env = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        unknown_variables(env, &["JACKFIELD_SECRET_".to_owned(), "JACKFIELD_TRACKER_".to_owned()])
    }

    #[test]
    fn an_unknown_variable_is_reported_with_the_nearest_setting() {
        for (name, nearest) in [
            ("JACKFIELD_LISTENS", "JACKFIELD_LISTEN"),
            ("JACKFIELD_LIMITS_CPU", "JACKFIELD_LIMITS_CPU_MS"),
            ("JACKFIELD_IN_DOUBT_S", "JACKFIELD_CREATE_IN_DOUBT_S"),
            ("JACKFIELD_WEBHOOK_PATHS", "JACKFIELD_WEBHOOK_KPI_PATHS"),
            ("JACKFIELD_ADMINTOKEN", "JACKFIELD_ADMIN_TOKEN"),
            ("JACKFIELD_STORAGE", "JACKFIELD_STORE"),
            ("JACKFIELD_PORT", "JACKFIELD_"),
        ] {
            let report = report_unknown_variables(&[(name, "7"), ("PATH", "/")]).concat();
            assert!(report.starts_with(&format!("{name} is not")), "{report}");
            assert!(report.contains(&format!("nearest is {nearest}")), "{report}");
        }
    }

    #[test]
    fn known_and_empty_variables_and_those_of_kubernetes_are_not_reported() {
        let not_reported = [
            ("JACKFIELD_LISTEN", "127.0.0.1:1"),
            ("JACKFIELD_LIMITS_CPU_MS", "7"),
            ("JACKFIELD_ADMIN_TOKEN", "x"),
            ("JACKFIELD_SECRET_KEY", "x"),
            ("JACKFIELD_SECRET_OF_QA", "x"),
            ("JACKFIELD_TRACKER_KEY", "x"),
            ("JACKFIELD_EMPTY", " "),
        ];
        assert_eq!(report_unknown_variables(&not_reported), [""; 0]);
        for service in ["JACKFIELD", "JACKFIELD_WEBHOOK", "JACKFIELD_LIMITS", "JACKFIELD_A_PORT"] {
            for (suffix, text) in [
                ("SERVICE_HOST", "10.0.0.1"),
                ("SERVICE_PORT", "80"),
                ("SERVICE_PORT_HTTP", "80"),
                ("PORT", "tcp://10.0.0.1:80"),
                ("PORT_8080_TCP", "tcp://10.0.0.1:8080"),
                ("PORT_8080_TCP_PROTO", "tcp"),
                ("PORT_8080_TCP_PORT", "8080"),
                ("PORT_8080_TCP_ADDR", "10.0.0.1"),
                ("PORT_53_UDP_ADDR", "10.0.0.1"),
            ] {
                let name = format!("{service}_{suffix}");
                assert_eq!(report_unknown_variables(&[(&name, text)]), [""; 0], "{name}");
                assert_eq!(key_of_variable(&name), None);
            }
        }
    }
}
