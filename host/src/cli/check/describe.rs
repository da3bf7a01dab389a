//! What a connector may do, what it can do, and what a connection of it needs, in words.

use crate::domain::printable;
use crate::manifest::{DeclaredValue, Manifest};
use crate::runtime::{Connector, Interfaces};

/// What a connection grants a connector when it is created.
pub(super) fn permissions(connector: &Connector) -> Vec<String> {
    let demands = connector.manifest().demands();
    let origins = demands.origins.iter().map(|origin| format!("send requests to {origin}"));
    let secrets = demands.secrets.iter();
    let secrets =
        secrets.map(|(name, place)| format!("use the secret `{name}`, which goes {place}"));
    let test_data = connector.test_data_functions().into_iter().map(|(interface, functions)| {
        let functions: Vec<_> = functions.iter().filter_map(|it| test_data(it)).collect();
        match (interface, functions.is_empty()) {
            ("report", false) => {
                format!(
                    "read of a failed test, as the report of the connection has it: {}",
                    functions.join(", ")
                )
            }
            ("report", true) => "read the report of a failed test".to_owned(),
            _ => "read everything that Test Manager knows of a failed test".to_owned(),
        }
    });
    let may: Vec<_> = origins.chain(secrets).chain(test_data).map(|it| printable(&it)).collect();
    if may.is_empty() {
        vec!["nothing: it cannot send requests, use secrets or read test data".to_owned()]
    } else {
        may
    }
}

/// What a function of `report` gives.
fn test_data(function: &str) -> Option<&'static str> {
    Some(match function {
        "title" => "title",
        "description" => "description",
        "comment" => "comment on a test that fails again",
        "fields" => "further fields",
        "attachments" => "screenshots, logs and files",
        _ => return None,
    })
}

/// What the interfaces mean for those who use a connection, and what is missing for them.
pub(super) fn abilities(connector: &Connector) -> (Vec<String>, Vec<String>) {
    let (manifest, interfaces) = (connector.manifest(), connector.interfaces());
    let (mut can, mut cannot) = (Vec::new(), Vec::new());
    let Interfaces { defects, kpis, follow_up } = interfaces;
    let mut say = |is_able: bool, yes: &str, no: &str| {
        if is_able { can.push(yes.to_owned()) } else { cannot.push(no.to_owned()) }
    };
    say(
        defects,
        "create a defect for a failed test (`defects`)",
        "create defects: it has no `defects`; Create Defect is answered with 501",
    );
    if defects {
        let yes = searches(manifest);
        say(
            manifest.index_delay_s.is_some(),
            &yes,
            "search for a defect (`index-delay-seconds` is absent): if the answer to a create is lost, \
             a person has to look into the tracker",
        );
    }
    say(
        kpis,
        "count defects (`kpis`)",
        "count defects: it has no `kpis`; Defect KPIs are answered with 501",
    );
    if defects {
        say(
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
        say(true, &format!("list the values of {} (`choices`)", listed.join(", ")), "");
    }
    (can, cannot)
}

fn searches(manifest: &Manifest) -> String {
    let after = match manifest.index_delay_s {
        Some(0) | None => "at once".to_owned(),
        Some(seconds) => format!("after at most {seconds} s"),
    };
    format!(
        "search for a defect whose answer was lost; the tracker's search shows a new one {after}"
    )
}

/// The settings and secrets of a connection, as they are given on the command line.
pub(super) fn values(manifest: &Manifest, is_required: bool) -> Vec<String> {
    let values = manifest.declared_values().into_iter();
    let values = values.filter(|it| it.is_required == is_required);
    values.map(|it| printable(&value(&it))).collect()
}

fn value(it: &DeclaredValue) -> String {
    let given = match it.is_secret {
        true => format!("--secret {}", it.name),
        false => format!("--set {}=…", it.name),
    };
    if it.label.is_empty() { given } else { format!("{given}  ({})", it.label) }
}
