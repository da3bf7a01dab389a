//! Checks that a manifest contains the texts and the parts of a settings schema that people need.
//! It does not check that the manifest is valid.

use serde_json::Value;

use crate::manifest::Manifest;

use super::Check;
use super::results::FindingCollector;

pub(super) fn check_manifest(manifest: &Manifest, results: &mut FindingCollector) {
    results.mark_made(Check::DescribesItself);
    let mut findings = missing_schema_parts(&manifest.settings_schema);
    if manifest.summary.trim().is_empty() {
        findings.push("`summary` is empty".to_owned());
    }
    for text in findings {
        results.add_finding(Check::DescribesItself, text);
    }
    if manifest.index_delay_s.is_none() {
        let text = "`index-delay-seconds` is absent: a person must resolve each defect in doubt";
        results.add_note(Check::DescribesItself, text.to_owned());
    }
}

/// Returns a sentence for each missing part.
fn missing_schema_parts(schema: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let settings = schema.get("properties").and_then(Value::as_object);
    let settings = || settings.into_iter().flatten();
    for (name, setting) in settings() {
        for member in ["title", "description"] {
            let text = setting.get(member).and_then(Value::as_str).unwrap_or_default();
            if text.trim().is_empty() {
                findings.push(format!("the setting `{name}` has no `{member}`"));
            }
        }
    }
    let is_true = |setting: &Value, keyword: &str| setting.get(keyword) == Some(&Value::Bool(true));
    let mut origins = settings().filter(|(_, setting)| is_true(setting, "jackfield:origin"));
    match origins.next() {
        None => findings.push(
            "no setting is marked `\"jackfield:origin\": true`, so no tracker can be reached"
                .to_owned(),
        ),
        Some((name, setting)) => {
            let has_value = setting.get("default").or_else(|| setting.get("const")).is_some();
            let required = schema.get("required").and_then(Value::as_array);
            if required.is_none() && !has_value {
                findings.push(format!("no setting is `required`, not even `{name}`"));
            }
        }
    }
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        findings.push("`\"additionalProperties\": false` is missing".to_owned());
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_missing_part_of_a_settings_schema_is_reported() {
        let url =
            json!({"type": "string", "title": "t", "description": "d", "jackfield:origin": true});
        let complete = json!({"type": "object", "properties": {"url": url}, "required": ["url"],
            "additionalProperties": false});
        assert_eq!(missing_schema_parts(&complete), Vec::<String>::new());
        for (pointer, part) in [
            ("/properties/url/title", "`title`"),
            ("/properties/url/description", "`description`"),
            ("/properties/url/jackfield:origin", "jackfield:origin"),
            ("/required", "`required`"),
            ("/additionalProperties", "additionalProperties"),
        ] {
            let mut schema = complete.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let members = schema.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
            members.remove(name);
            let found = missing_schema_parts(&schema);
            assert!(found.len() == 1 && found[0].contains(part), "{pointer}: {found:?}");
        }
    }
}
