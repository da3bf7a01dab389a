//! Describes a connector in words: its permissions, its abilities, and the settings and secrets of
//! a connection. Prints nothing.

use crate::domain::printable;
use crate::manifest::{DeclaredValue, Manifest};
use crate::runtime::{Connector, Interfaces};

/// Describes the permissions that the connector gets when a person creates a connection.
pub(super) fn describe_permissions(connector: &Connector) -> Vec<String> {
    let required_access = connector.manifest().required_access();
    let origins = required_access.origins.iter().map(|origin| format!("send requests to {origin}"));
    let secrets = required_access.secrets.iter();
    let secrets =
        secrets.map(|(name, place)| format!("use the secret `{name}`, which goes {place}"));
    let test_data =
        connector.imported_test_data_functions().into_iter().map(|(interface, functions)| {
            let functions: Vec<_> = functions.iter().filter_map(|it| report_part(it)).collect();
            match (interface, functions.is_empty()) {
                ("report", false) => {
                    format!("read these parts of a failed test's report: {}", functions.join(", "))
                }
                ("report", true) => "read the report of a failed test".to_owned(),
                _ => "read all data of a failed test in Test Manager".to_owned(),
            }
        });
    let may: Vec<_> = origins.chain(secrets).chain(test_data).map(|it| printable(&it)).collect();
    if may.is_empty() {
        vec!["nothing: it cannot send requests, use secrets or read test data".to_owned()]
    } else {
        may
    }
}

/// Names the part of the report that a function of the interface `report` returns; `None` if the
/// function returns no part.
fn report_part(function: &str) -> Option<&'static str> {
    Some(match function {
        "title" => "title",
        "description" => "description",
        "comment" => "comment on a test that fails again",
        "fields" => "further fields",
        "attachments" => "screenshots, logs and files",
        _ => return None,
    })
}

/// Describes what a connection can do with this connector. Also describes what the connection
/// cannot do, because an interface or `index-delay-seconds` is missing.
pub(super) fn describe_abilities(connector: &Connector) -> (Vec<String>, Vec<String>) {
    let (manifest, interfaces) = (connector.manifest(), connector.interfaces());
    let (mut can, mut cannot) = (Vec::new(), Vec::new());
    let Interfaces { exports_defects, exports_kpis: kpis, exports_follow_up: follow_up } =
        interfaces;
    let mut add = |is_able: bool, ability: &str, lack: &str| {
        if is_able { can.push(ability.to_owned()) } else { cannot.push(lack.to_owned()) }
    };
    add(
        exports_defects,
        "create a defect for a failed test (`defects`)",
        "create defects: it has no `defects`; Create Defect is answered with 501",
    );
    if exports_defects {
        let ability = describe_search(manifest);
        add(
            manifest.index_delay_s.is_some(),
            &ability,
            "search for a defect (`index-delay-seconds` is absent): if the answer to a create is lost, \
             a person must search the tracker",
        );
    }
    add(
        kpis,
        "count defects (`kpis`)",
        "count defects: it has no `kpis`; Defect KPIs are answered with 501",
    );
    if exports_defects {
        add(
            follow_up,
            "comment on, reopen and attach files to a defect later (`follow-up`): \
             `--on-recurrence comment` and `reopen` work",
            "comment on, reopen or attach files to a defect later: it has no `follow-up`; a test that \
             fails again gets a new defect, and files are added only with the create",
        );
    }
    let listed = manifest.declared_values().into_iter().filter(|it| it.has_choices);
    let listed: Vec<_> = listed.map(|it| format!("`{}`", it.name)).collect();
    if !listed.is_empty() {
        add(true, &format!("list the values of {} (`choices`)", listed.join(", ")), "");
    }
    (can, cannot)
}

fn describe_search(manifest: &Manifest) -> String {
    let after = match manifest.index_delay_s {
        Some(0) | None => "at once".to_owned(),
        Some(seconds) => format!("after at most {seconds} s"),
    };
    format!(
        "search for a defect if the answer to its create is lost; the tracker's search finds a new \
         defect {after}"
    )
}

/// Describes the command-line options for the required or the optional settings and secrets of a
/// connection.
pub(super) fn describe_options(manifest: &Manifest, is_required: bool) -> Vec<String> {
    let values = manifest.declared_values().into_iter();
    let values = values.filter(|it| it.is_required == is_required);
    values.map(|it| printable(&describe_option(&it))).collect()
}

fn describe_option(value: &DeclaredValue) -> String {
    let option = match value.is_secret {
        true => format!("--secret {}", value.name),
        false => format!("--set {}=…", value.name),
    };
    if value.label.is_empty() { option } else { format!("{option}  ({})", value.label) }
}
