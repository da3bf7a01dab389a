//! The settings schema of a manifest and, after a line `---`, settings that a person entered for
//! it.
#![no_main]

use std::collections::BTreeSet;

use jackfield::domain::{SecretPlace, Settings};
use jackfield::fuzz::manifest;
use jackfield::manifest::{Manifest, SettingError};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// Headers that frame a request. A secret is never placed in such a header.
const FRAMING: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "upgrade"];
/// The maximum number of errors that are reported at once.
const ERRORS_MAX: usize = 100;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (schema, entered) = text.split_once("\n---\n").unwrap_or((text, "{}"));
    let manifest = match manifest(schema) {
        Ok(manifest) => manifest,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(
        serde_json::from_str::<Value>(schema).ok().as_ref(),
        Some(&manifest.settings_schema)
    );
    let (plain, secrets) = settings_of(&manifest);
    check_settings(&manifest, &Settings::new(), &[]);
    check_settings(&manifest, &defaults(&plain), &secrets);
    if let Ok(entered) = serde_json::from_str::<Settings>(entered) {
        check_settings(&manifest, &entered, &secrets);
        let names: Vec<_> = entered.keys().cloned().collect();
        check_settings(&manifest, &entered, &names);
    }
});

/// The settings that are not secrets, and the names of the settings that are secrets.
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

/// Either the settings are accepted and determine the grants, or each error is reported.
fn check_settings(manifest: &Manifest, settings: &Settings, secrets: &[String]) {
    match manifest.validate(settings, secrets, |_| true) {
        Ok(()) => check_grants(manifest, settings, secrets),
        Err(errors) => {
            let count = errors.len();
            assert!((1..=ERRORS_MAX).contains(&count), "{count} errors");
            let has_reason = |error: &SettingError| !error.why.is_empty();
            assert!(errors.iter().all(has_reason), "{errors:?}");
        }
    }
    assert_eq!(
        manifest.validate(settings, secrets, |_| true),
        manifest.validate(settings, secrets, |_| true)
    );
}

fn check_grants(manifest: &Manifest, settings: &Settings, secrets: &[String]) {
    let grants = manifest.required_grants(settings).expect("valid settings determine the grants");
    let origins: BTreeSet<_> = grants.origins.iter().collect();
    assert_eq!(origins.len(), grants.origins.len(), "an origin is granted twice");
    assert!(grants.fixed.iter().all(|origin| origins.contains(origin)));
    for (name, grant) in &grants.secrets {
        assert!(origins.contains(&grant.origin), "{name} is sent to an origin that is not granted");
        if let SecretPlace::Header { name, .. } = &grant.place {
            assert!(
                !FRAMING.contains(&name.as_str()) && !name.bytes().any(|b| b.is_ascii_uppercase())
            );
        }
    }
    // Each secret has a place in a request. A secret without a place would never be sent, and no
    // error would say so.
    assert!(secrets.iter().all(|name| grants.secrets.contains_key(name)), "{secrets:?}");
}
