//! Fuzzes the validation of settings. The input is the settings schema of a manifest. After a line
//! `---`, the input contains the settings that a person entered.
#![no_main]

use std::collections::BTreeSet;

use jackfield::domain::{SecretPlace, Settings};
use jackfield::fuzz::read_manifest;
use jackfield::manifest::{Manifest, SettingError};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// Headers that determine where a request is sent and how it is framed. The place of a secret is
/// never such a header.
const FRAMING_HEADERS: [&str; 5] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade"];
const ERRORS_MAX: usize = 100;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (schema, entered) = text.split_once("\n---\n").unwrap_or((text, "{}"));
    let manifest = match read_manifest(schema) {
        Ok(manifest) => manifest,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(
        serde_json::from_str::<Value>(schema).ok().as_ref(),
        Some(&manifest.settings_schema)
    );
    let (plain, secrets) = split_settings(&manifest);
    check_settings(&manifest, &Settings::new(), &[]);
    check_settings(&manifest, &default_values(&plain), &secrets);
    if let Ok(entered) = serde_json::from_str::<Settings>(entered) {
        check_settings(&manifest, &entered, &secrets);
        let names: Vec<_> = entered.keys().cloned().collect();
        check_settings(&manifest, &entered, &names);
    }
});

/// Returns the schemas of the settings that are not secrets, by name. Also returns the names of the
/// secrets.
fn split_settings(manifest: &Manifest) -> (Map<String, Value>, Vec<String>) {
    let all = manifest.settings_schema.get("properties").and_then(Value::as_object);
    let (secrets, plain): (Vec<_>, Vec<_>) =
        all.cloned().unwrap_or_default().into_iter().partition(|(_, it)| it["writeOnly"] == true);
    (plain.into_iter().collect(), secrets.into_iter().map(|(name, _)| name).collect())
}

fn default_values(plain: &Map<String, Value>) -> Settings {
    let default = |(name, it): (&String, &Value)| Some((name.clone(), it.get("default")?.clone()));
    plain.iter().filter_map(default).collect()
}

/// Asserts that valid settings determine valid grants, and that each error of invalid settings has
/// a reason. Asserts that a second validation has the same result.
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

/// Asserts that the grants contain each needed origin once, and a valid place for each secret.
fn check_grants(manifest: &Manifest, settings: &Settings, secrets: &[String]) {
    let grants = manifest.required_grants(settings).expect("valid settings determine the grants");
    let origins: BTreeSet<_> = grants.origins.iter().collect();
    assert_eq!(origins.len(), grants.origins.len(), "an origin is granted twice");
    assert!(grants.fixed_origins.iter().all(|origin| origins.contains(origin)));
    for (name, grant) in &grants.secrets {
        assert!(origins.contains(&grant.origin), "{name} is sent to an origin that is not granted");
        if let SecretPlace::Header { name, .. } = &grant.place {
            assert!(
                !FRAMING_HEADERS.contains(&name.as_str())
                    && !name.bytes().any(|b| b.is_ascii_uppercase())
            );
        }
    }
    // Each secret has a place in a request. The host would never send a secret without a place, and
    // no error would say so.
    assert!(secrets.iter().all(|name| grants.secrets.contains_key(name)), "{secrets:?}");
}
