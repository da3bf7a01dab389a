//! The requests of a connector are those of the vendor's OpenAPI file, of which `openapi/` has the
//! operations that are used: path, method, parameters, body, and the status of the recorded answer.

use std::fs;

use jackfield_tests::root;
use serde_json::Value;

use super::recorded;

/// A connector whose vendor publishes a file.
struct Published {
    name: &'static str,
    /// The address of the API in the recordings.
    address: &'static str,
    /// Ends of the paths whose operations `openapi/` does not have.
    elsewhere: &'static [&'static str],
}

const PUBLISHED: [Published; 4] = [
    Published { name: "github", address: "https://api.github.com", elsewhere: &[] },
    // Cloud alone: the recordings of Data Center are in another folder.
    Published { name: "jira", address: "https://example.atlassian.net", elsewhere: &[] },
    Published {
        name: "gitlab",
        address: "https://gitlab.com",
        elsewhere: &["/notes", "/labels/{name}", "/projects/{id}", "/uploads", "/user"],
    },
    Published {
        name: "azure-devops",
        address: "https://dev.azure.com",
        // The comments are listed by an operation that the file omits, because another one has the
        // same path. The file has 200 for an upload, and the reference has 201.
        elsewhere: &["/comments", "/attachments", "/projects/{id}", "/connectionData"],
    },
];

impl Published {
    /// Whether the file has no operation that such a request can be compared with.
    fn is_elsewhere(&self, exchange: &Value) -> bool {
        let url = exchange["request"]["url"].as_str().unwrap_or_default();
        let path = url.split('?').next().unwrap_or_default();
        let parts = |path: &str| path.rsplit('/').map(str::to_owned).collect::<Vec<_>>();
        let given = parts(path);
        let is_end = |end: &str| {
            let known = parts(end.trim_start_matches('/'));
            known.iter().zip(&given).all(|(known, given)| known.starts_with('{') || known == given)
        };
        self.elsewhere.iter().any(|end| is_end(end))
    }
}

#[test]
fn the_requests_are_those_of_the_published_openapi_file() {
    for published in &PUBLISHED {
        let Published { name, address, .. } = published;
        let file = format!("tests/tests/promises/trackers/openapi/{name}.json");
        let text = fs::read_to_string(root().join(&file)).expect(&file);
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let (elsewhere, exchanges): (Vec<_>, Vec<_>) =
            recorded(name).into_iter().partition(|it| published.is_elsewhere(it));
        assert!(exchanges.len() > 10, "{name}: {} exchanges", exchanges.len());
        assert_eq!(elsewhere.is_empty(), published.elsewhere.is_empty(), "{name}");
        for exchange in exchanges {
            let why = difference(&file, address, &exchange);
            assert_eq!(why, None, "{name}: {}", exchange["request"]);
        }
    }
}

#[test]
fn another_path_parameter_body_or_status_is_found() {
    let exchange = recorded("github").into_iter().find(|it| it["request"]["method"] == "POST");
    let exchange = exchange.expect("a create");
    let file = root().join("tests/tests/promises/trackers/openapi/github.json");
    let published = serde_json::from_str(&fs::read_to_string(file).expect("a file")).expect("JSON");
    let with = |pointer: &str, value: Value| {
        let mut changed = exchange.clone();
        *changed.pointer_mut(pointer).expect(pointer) = value;
        difference(&published, "https://api.github.com", &changed)
    };
    let url = exchange["request"]["url"].as_str().expect("a URL").to_owned();
    assert_eq!(difference(&published, "https://api.github.com", &exchange), None);
    assert!(with("/request/url", (url.clone() + "/other").into()).is_some());
    assert!(with("/request/url", (url + "?other=1").into()).is_some());
    assert!(with("/request/body", r#"{"title":"t","text":"x"}"#.into()).is_some());
    assert!(with("/request/body", r#"{"title":"t","labels":"x"}"#.into()).is_some());
    assert!(with("/response/status", 299.into()).is_some());
}

/// Answers to wrong credentials: refused, or a sign-in page.
const NOT_OF_THE_API: [&str; 2] = ["401", "203"];

/// What of an exchange the published file does not have.
fn difference(published: &Value, address: &str, exchange: &Value) -> Option<String> {
    let request = &exchange["request"];
    let url = request["url"].as_str().unwrap_or_default();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let Some(path) = path.strip_prefix(address) else { return Some(format!("not at {address}")) };
    let method = request["method"].as_str().unwrap_or_default().to_lowercase();
    let mut paths = published["paths"].as_object().into_iter().flatten();
    let operation = paths.find(|(known, of)| is_at(known, path) && of.get(&method).is_some());
    let Some((_, operation)) = operation else { return Some(format!("no {method} {path}")) };
    let operation = &operation[&method];
    let parameters: Vec<_> = operation["query"].as_array().into_iter().flatten().collect();
    let given: Vec<_> = query.split('&').filter_map(|it| it.split('=').next()).collect();
    for name in given.iter().filter(|name| !name.is_empty()) {
        let name = name.replace("%24", "$");
        if !parameters.iter().any(|known| known["name"] == name) {
            return Some(format!("no parameter {name}"));
        }
    }
    let status = exchange["response"]["status"].to_string();
    let answers = operation["answers"].as_array()?;
    if !answers.iter().any(|known| *known == status || known == "default")
        && !NOT_OF_THE_API.contains(&status.as_str())
    {
        return Some(format!("no answer {status}"));
    }
    let text = request["body"].as_str().unwrap_or_default();
    match (operation.get("body"), serde_json::from_str::<Value>(text)) {
        (Some(schema), Ok(body)) => mismatch(schema, &body, "the body"),
        _ => None,
    }
}

/// Whether a path is one of a template such as `/issues/{key}`.
fn is_at(template: &str, path: &str) -> bool {
    let (mut of_template, mut of_path) = (template.split('/'), path.split('/'));
    let fits = |(known, given): (&str, &str)| match known.split_once('{') {
        None => known == given,
        Some((before, _)) => given.replace("%24", "$").starts_with(before) && given != before,
    };
    of_template.by_ref().zip(of_path.by_ref()).all(fits)
        && template.split('/').count() == path.split('/').count()
}

/// Where a value is not what a schema says. A member that an object does not list is a mismatch.
fn mismatch(schema: &Value, value: &Value, place: &str) -> Option<String> {
    if value.is_null() && schema["nullable"] == true {
        return None;
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let fits = choices.iter().any(|it| mismatch(it, value, place).is_none());
            return (!fits).then(|| format!("{place}: {value} fits none of {choice}"));
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
    if let Some(found) = items.find_map(|it| mismatch(&schema["items"], it, place)) {
        return Some(found);
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
        Some(schema) => mismatch(schema, member, name),
        None if schema["additionalProperties"] == true => None,
        None => Some(format!("{place} has {name}")),
    })
}
