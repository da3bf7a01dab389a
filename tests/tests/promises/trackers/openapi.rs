//! Compares recorded requests, and the statuses of the recorded answers, with the OpenAPI files of
//! vendors. Each file in the folder `openapi/` contains some operations of one vendor's file.

use std::fs;

use jackfield_tests::root;
use serde_json::Value;

use super::recorded_exchanges;

struct PublishedApi {
    name: &'static str,
    /// The base URL of the API in the recordings.
    base_url: &'static str,
    /// Ends of paths. Requests to a path with one of these ends are not compared.
    not_in_file: &'static [&'static str],
}

const PUBLISHED_APIS: [PublishedApi; 4] = [
    PublishedApi { name: "github", base_url: "https://api.github.com", not_in_file: &[] },
    // This entry is for Jira Cloud only. The recordings of Data Center are in another folder.
    PublishedApi { name: "jira", base_url: "https://example.atlassian.net", not_in_file: &[] },
    PublishedApi {
        name: "gitlab",
        base_url: "https://gitlab.com",
        not_in_file: &["/notes", "/labels/{name}", "/projects/{id}", "/uploads", "/user"],
    },
    PublishedApi {
        name: "azure-devops",
        base_url: "https://dev.azure.com",
        // The file omits the operation that lists comments, because another operation has the same
        // path. For an upload, the file has the status 200, but the reference has 201.
        not_in_file: &["/comments", "/attachments", "/projects/{id}", "/connectionData"],
    },
];

impl PublishedApi {
    /// Whether the path of this exchange has one of the ends in `not_in_file`.
    fn is_not_in_file(&self, exchange: &Value) -> bool {
        let url = exchange["request"]["url"].as_str().unwrap_or_default();
        let path = url.split('?').next().unwrap_or_default();
        let parts = |path: &str| path.rsplit('/').map(str::to_owned).collect::<Vec<_>>();
        let request_parts = parts(path);
        let is_end = |end: &str| {
            let known = parts(end.trim_start_matches('/'));
            known
                .iter()
                .zip(&request_parts)
                .all(|(known, part)| known.starts_with('{') || known == part)
        };
        self.not_in_file.iter().any(|end| is_end(end))
    }
}

#[test]
fn the_requests_match_the_published_openapi_file() {
    for published in &PUBLISHED_APIS {
        let PublishedApi { name, base_url, .. } = published;
        let file = format!("tests/tests/promises/trackers/openapi/{name}.json");
        let text = fs::read_to_string(root().join(&file)).expect(&file);
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let (not_in_file, exchanges): (Vec<_>, Vec<_>) =
            recorded_exchanges(name).into_iter().partition(|it| published.is_not_in_file(it));
        assert!(exchanges.len() > 10, "{name}: {} exchanges", exchanges.len());
        assert_eq!(not_in_file.is_empty(), published.not_in_file.is_empty(), "{name}");
        for exchange in exchanges {
            let difference_found = find_difference(&file, base_url, &exchange);
            assert_eq!(difference_found, None, "{name}: {}", exchange["request"]);
        }
    }
}

#[test]
fn a_different_path_parameter_body_or_status_is_found() {
    let exchange =
        recorded_exchanges("github").into_iter().find(|it| it["request"]["method"] == "POST");
    let exchange = exchange.expect("a create");
    let file = root().join("tests/tests/promises/trackers/openapi/github.json");
    let published = serde_json::from_str(&fs::read_to_string(file).expect("a file")).expect("JSON");
    let difference_with = |pointer: &str, value: Value| {
        let mut changed = exchange.clone();
        *changed.pointer_mut(pointer).expect(pointer) = value;
        find_difference(&published, "https://api.github.com", &changed)
    };
    let url = exchange["request"]["url"].as_str().expect("a URL").to_owned();
    assert_eq!(find_difference(&published, "https://api.github.com", &exchange), None);
    assert!(difference_with("/request/url", (url.clone() + "/other").into()).is_some());
    assert!(difference_with("/request/url", (url + "?other=1").into()).is_some());
    assert!(difference_with("/request/body", r#"{"title":"t","text":"x"}"#.into()).is_some());
    assert!(difference_with("/request/body", r#"{"title":"t","labels":"x"}"#.into()).is_some());
    assert!(difference_with("/response/status", 299.into()).is_some());
}

/// Statuses of answers to wrong credentials: of a refusal, and of a sign-in page. The files do not
/// list them for every operation, so the comparison always accepts them.
const UNLISTED_STATUSES: [&str; 2] = ["401", "203"];

/// Returns the first difference that is found between an exchange and the published file. The body
/// of the answer is not compared.
fn find_difference(published: &Value, base_url: &str, exchange: &Value) -> Option<String> {
    let request = &exchange["request"];
    let url = request["url"].as_str().unwrap_or_default();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let Some(path) = path.strip_prefix(base_url) else { return Some(format!("not at {base_url}")) };
    let method = request["method"].as_str().unwrap_or_default().to_lowercase();
    let mut paths = published["paths"].as_object().into_iter().flatten();
    let operation =
        paths.find(|(known, of)| matches_template(known, path) && of.get(&method).is_some());
    let Some((_, operation)) = operation else {
        return Some(format!("no operation {method} {path}"));
    };
    let operation = &operation[&method];
    let parameters: Vec<_> = operation["query"].as_array().into_iter().flatten().collect();
    let parameter_names: Vec<_> = query.split('&').filter_map(|it| it.split('=').next()).collect();
    for name in parameter_names.iter().filter(|name| !name.is_empty()) {
        let name = name.replace("%24", "$");
        if !parameters.iter().any(|known| known["name"] == name) {
            return Some(format!("no parameter {name}"));
        }
    }
    let status = exchange["response"]["status"].to_string();
    let answers = operation["answers"].as_array()?;
    if !answers.iter().any(|known| *known == status || known == "default")
        && !UNLISTED_STATUSES.contains(&status.as_str())
    {
        return Some(format!("no answer {status}"));
    }
    let text = request["body"].as_str().unwrap_or_default();
    match (operation.get("body"), serde_json::from_str::<Value>(text)) {
        (Some(schema), Ok(body)) => find_mismatch(schema, &body, "the body"),
        _ => None,
    }
}

/// Whether a path matches a template such as `/issues/{key}`.
fn matches_template(template: &str, path: &str) -> bool {
    let (mut template_parts, mut path_parts) = (template.split('/'), path.split('/'));
    let part_matches =
        |(template_part, path_part): (&str, &str)| match template_part.split_once('{') {
            None => template_part == path_part,
            Some((before, _)) => {
                path_part.replace("%24", "$").starts_with(before) && path_part != before
            }
        };
    template_parts.by_ref().zip(path_parts.by_ref()).all(part_matches)
        && template.split('/').count() == path.split('/').count()
}

/// Returns where a value does not match a schema. Returns `None` if the value matches. If a schema
/// has `properties`, each other member of the object is a mismatch, unless the schema has
/// `additionalProperties: true`.
fn find_mismatch(schema: &Value, value: &Value, place: &str) -> Option<String> {
    if value.is_null() && schema["nullable"] == true {
        return None;
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let matches_one = choices.iter().any(|it| find_mismatch(it, value, place).is_none());
            return (!matches_one)
                .then(|| format!("{place}: {value} matches no schema of {choice}"));
        }
    }
    let is_type = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer" | "number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    let is_value = schema["enum"].as_array().is_none_or(|known| known.contains(value));
    if !is_type || !is_value {
        return Some(format!("{place}: {value} is not {schema}"));
    }
    let mut items = value.as_array().into_iter().flatten();
    if let Some(difference) = items.find_map(|it| find_mismatch(&schema["items"], it, place)) {
        return Some(difference);
    }
    let (Some(known), Some(members)) = (schema["properties"].as_object(), value.as_object()) else {
        return None;
    };
    let mut required =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.find(|name| !members.contains_key(*name)) {
        return Some(format!("{place} has no {missing}"));
    }
    members.iter().find_map(|(name, member)| match known.get(name) {
        Some(schema) => find_mismatch(schema, member, name),
        None if schema["additionalProperties"] == true => None,
        None => Some(format!("{place} has {name}")),
    })
}
