//! The settings schema of a manifest and, behind a line `---`, settings that somebody entered for it.
#![no_main]

use std::collections::BTreeSet;

use jackfield::connector::{Manifest, SettingsProblem};
use jackfield::domain::{SecretPlace, Settings};
use jackfield::fuzz::manifest;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// Headers that frame a request; a secret never stands in one.
const FRAMING: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "upgrade"];
/// Problems with settings that are named at once, and one for each of at most 100 settings.
const PROBLEMS_MAX: usize = 300;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (schema, entered) = text.split_once("\n---\n").unwrap_or((text, "{}"));
    let manifest = match manifest(schema) {
        Ok(manifest) => manifest,
        Err(refusal) => return assert!(!refusal.0.is_empty()),
    };
    assert_eq!(
        serde_json::from_str::<Value>(schema).ok().as_ref(),
        Some(&manifest.settings_schema)
    );
    let (plain, secrets) = settings_of(&manifest);
    judged(&manifest, &Settings::new(), &[]);
    judged(&manifest, &defaults(&plain), &secrets);
    if let Ok(entered) = serde_json::from_str::<Settings>(entered) {
        judged(&manifest, &entered, &secrets);
        let names: Vec<_> = entered.keys().cloned().collect();
        judged(&manifest, &entered, &names);
    }
});

/// The settings that are no secrets, and the names of those that are.
fn settings_of(manifest: &Manifest) -> (Map<String, Value>, Vec<String>) {
    let all = manifest.settings_schema.get("properties").and_then(Value::as_object);
    let (secrets, plain): (Vec<_>, Vec<_>) =
        all.cloned().unwrap_or_default().into_iter().partition(|(_, it)| it["writeOnly"] == true);
    (plain.into_iter().collect(), secrets.into_iter().map(|(name, _)| name).collect())
}

fn defaults(plain: &Map<String, Value>) -> Settings {
    let default = |(name, it): (&String, &Value)| Some((name.clone(), it.get("default")?.clone()));
    plain.iter().filter_map(default).collect()
}

/// Settings are taken, and then say what they grant; or each problem is named.
fn judged(manifest: &Manifest, settings: &Settings, secrets: &[String]) {
    match manifest.validate(settings, secrets, |_| true) {
        Ok(()) => granted(manifest, settings, secrets),
        Err(problems) => {
            let length = problems.len();
            let most = PROBLEMS_MAX + settings.len() + secrets.len();
            assert!((1..=most).contains(&length), "{length} problems");
            let is_told = |problem: &SettingsProblem| !problem.why.is_empty();
            assert!(problems.iter().all(is_told), "{problems:?}");
        }
    }
    assert_eq!(
        manifest.validate(settings, secrets, |_| true),
        manifest.validate(settings, secrets, |_| true)
    );
}

fn granted(manifest: &Manifest, settings: &Settings, secrets: &[String]) {
    let grants = manifest.demands(settings).expect("what is valid can be granted");
    let origins: BTreeSet<_> = grants.origins.iter().collect();
    assert_eq!(origins.len(), grants.origins.len(), "an origin is granted twice");
    assert!(grants.fixed.iter().all(|origin| origins.contains(origin)));
    for (name, grant) in &grants.secrets {
        assert!(origins.contains(&grant.origin), "{name} goes where nothing else goes");
        if let SecretPlace::Header { name, .. } = &grant.place {
            assert!(
                !FRAMING.contains(&name.as_str()) && !name.bytes().any(|b| b.is_ascii_uppercase())
            );
        }
    }
    // What was entered for a secret has a place, or it would never be sent and nobody would know.
    assert!(secrets.iter().all(|name| grants.secrets.contains_key(name)), "{secrets:?}");
}
