//! Generates the OpenAPI 3.1 document of the admin API from the types of the API, and renders the
//! document as a page.
//!
//! The page never loads anything from another server.

#![expect(clippy::indexing_slicing, reason = "a missing member of a JSON value reads as null")]

mod operation;
mod operations;

use std::sync::LazyLock;

use askama::Template;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::api::Problem as ProblemBody;

use super::problem::Problem;
use operation::Schemas;

static DOCUMENT: LazyLock<Value> = LazyLock::new(build_document);
static DOCUMENT_TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_string());

/// Answers `GET /api/v1/openapi.json`.
pub(super) async fn json() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT_TEXT.as_str()).into_response()
}

/// Answers `GET /api/v1/docs` with the OpenAPI document as a page.
pub(super) async fn page() -> Result<Html<String>, Problem> {
    let page =
        DocumentPage { groups: group_operations(&DOCUMENT), schemas: to_shown_schemas(&DOCUMENT) };
    page.render().map(Html).map_err(|_| Problem::internal())
}

fn build_document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for operation in operations::all() {
        let path = paths.entry(operation.documented_path()).or_insert_with(|| json!({}));
        path[operation.method] = operation.describe(&mut schemas);
    }
    let problem = schemas.answer_schema::<ProblemBody>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Jackfield admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The API that the console and the command line use. A request with an unknown \
                member or parameter is refused. Later versions may add members to answers.",
        },
        // Use a relative URL, so that it is also correct if a proxy serves this API below a path.
        "servers": [{"url": "../v1"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"Problem": {
                "description": "Why the request was refused (RFC 9457)",
                "content": {"application/problem+json": {"schema": problem}},
            }},
            "schemas": schemas.into_named(),
        },
    })
}

#[derive(Template)]
#[template(path = "api_docs.html")]
struct DocumentPage {
    groups: Vec<OperationGroup>,
    schemas: Vec<ShownSchema>,
}

/// The operations whose paths begin with the same segment.
struct OperationGroup {
    name: String,
    operations: Vec<ShownOperation>,
}

struct ShownOperation {
    method: String,
    path: String,
    summary: String,
    parameters: Vec<ShownMember>,
    /// The name of the schema of the request's body. If the schema has no name, the media type.
    /// `None` if the request has no body.
    body: Option<String>,
    /// The status of each successful answer, and the name of its schema if it is JSON with a named
    /// schema.
    answers: Vec<(String, Option<String>)>,
    /// The statuses of the problems with which the operation may answer, separated by commas.
    problems: String,
}

struct ShownSchema {
    name: String,
    description: String,
    members: Vec<ShownMember>,
}

/// A member of an object, or a parameter of an operation.
struct ShownMember {
    name: String,
    /// The type of the value in a few words. For a parameter, also its place in the request.
    kind: String,
    /// Whether an answer always has the member, or a request must have the member or parameter.
    required: bool,
    description: String,
}

fn group_operations(document: &Value) -> Vec<OperationGroup> {
    let mut groups: Vec<OperationGroup> = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let name = text(&operation["tags"][0]);
            let shown = to_shown_operation(method, path, operation);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.operations.push(shown),
                None => groups.push(OperationGroup { name, operations: vec![shown] }),
            }
        }
    }
    groups
}

fn to_shown_operation(method: &str, path: &str, operation: &Value) -> ShownOperation {
    let contents = operation["requestBody"]["content"].as_object();
    let body = contents.and_then(|contents| contents.iter().next()).map(|(media_type, content)| {
        schema_name(&content["schema"]).unwrap_or_else(|| media_type.clone())
    });
    let (mut answers, mut problems) = (Vec::new(), Vec::new());
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        if response.get("$ref").is_some() {
            problems.push(status.as_str());
        } else {
            answers.push((
                status.clone(),
                schema_name(&response["content"]["application/json"]["schema"]),
            ));
        }
    }
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let shown_parameter = |parameter: &Value| ShownMember {
        name: text(&parameter["name"]),
        kind: format!("{}, {}", text(&parameter["in"]), describe_type(&parameter["schema"])),
        required: parameter["required"] == true,
        description: text(&parameter["description"]),
    };
    ShownOperation {
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        parameters: parameters.map(shown_parameter).collect(),
        body,
        answers,
        problems: problems.join(", "),
    }
}

fn to_shown_schemas(document: &Value) -> Vec<ShownSchema> {
    let schemas = document["components"]["schemas"].as_object().into_iter().flatten();
    schemas
        .map(|(name, schema)| {
            let required: Vec<_> = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let members = schema["properties"].as_object().into_iter().flatten();
            let members = members.map(|(name, member)| ShownMember {
                name: name.clone(),
                kind: describe_type(member),
                required: required.contains(&name.as_str()),
                description: text(&member["description"]),
            });
            ShownSchema {
                name: name.clone(),
                description: text(&schema["description"]),
                members: members.collect(),
            }
        })
        .collect()
}

fn schema_name(schema: &Value) -> Option<String> {
    schema["$ref"].as_str().and_then(|pointer| pointer.rsplit('/').next()).map(str::to_owned)
}

fn describe_type(schema: &Value) -> String {
    if let Some(name) = schema_name(schema) {
        return name;
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(text).collect::<Vec<_>>().join(" | ");
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().map(describe_type).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => {
            format!("list of {}", describe_type(&schema["items"]))
        }
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
        _ => "any JSON".to_owned(),
    }
}

/// The text in a JSON value; empty if the value is not a text.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Reads the methods and paths of the routes from the source code that declares them.
    fn declared_routes() -> BTreeSet<(String, String)> {
        let source = include_str!("routes.rs").split_whitespace().collect::<Vec<_>>().join(" ");
        let source = source.replace("( ", "(");
        let mut routes = BTreeSet::new();
        for function in ["fn admin_api(", "fn uploads("] {
            let (_, text) = source.split_once(function).expect("the function");
            let text = text.split(" fn ").next().expect("its text");
            for declared in ["get", "post", "post_without_change", "put", "patch", "delete", "any"]
            {
                for call in text.split(&format!(".{declared}(\"")).skip(1) {
                    let path = call.split('"').next().expect("a path").replace("{*", "{");
                    let methods: &[&str] = match declared {
                        "any" => &["get", "post"],
                        "post_without_change" => &["post"],
                        other => &[other],
                    };
                    routes
                        .extend(methods.iter().map(|method| ((*method).to_owned(), path.clone())));
                }
            }
        }
        routes
    }

    #[test]
    fn the_document_describes_each_route_and_no_other() {
        let mut documented = BTreeSet::new();
        for (path, methods) in DOCUMENT["paths"].as_object().expect("paths") {
            for method in methods.as_object().expect("methods").keys() {
                documented.insert((method.clone(), path.clone()));
            }
        }
        assert!(documented.len() > 30);
        assert_eq!(documented, declared_routes());
    }

    #[test]
    fn each_reference_is_valid_and_each_type_of_the_api_has_a_schema() {
        let text = DOCUMENT_TEXT.as_str();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().expect("a pointer");
            assert!(DOCUMENT.pointer(pointer).is_some(), "{pointer} does not exist");
        }
        let schemas = &DOCUMENT["components"]["schemas"];
        for name in
            ["Connection", "EditConnection", "EventReplay", "Problem", "SettingError", "Usage"]
        {
            assert!(schemas[name]["properties"].is_object(), "{name}: {}", schemas[name]);
        }
        let ids: Vec<_> = text.split("\"operationId\":\"").skip(1).collect();
        let unique: BTreeSet<_> = ids.iter().filter_map(|id| id.split('"').next()).collect();
        assert_eq!(unique.len(), ids.len());
    }

    #[test]
    fn a_member_with_a_default_is_optional_in_a_request_and_required_in_an_answer() {
        let schemas = &DOCUMENT["components"]["schemas"];
        let required = |name: &str| schemas[name]["required"].to_string();
        assert_eq!(required("CreateConnection"), "[\"name\",\"connector\"]");
        assert!(required("Connection").contains("\"report\""));
        assert_eq!(schemas["CreateConnection"]["additionalProperties"], false);
        assert_eq!(schemas["Connection"].get("additionalProperties"), None);
    }

    #[tokio::test]
    async fn the_page_shows_each_operation() {
        let Ok(Html(page)) = page().await else { panic!("no page") };
        for part in ["/connections/{id}/replay", "EventReplay", "listEvents"] {
            let is_shown = page.contains(part);
            assert_eq!(is_shown, part == "EventReplay", "{part}");
        }
        assert!(page.contains("/events/{id}/replay") && !page.contains("http://"), "{page}");
    }
}
