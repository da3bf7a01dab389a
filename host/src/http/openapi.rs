//! The admin API in OpenAPI 3.1, made of its types, and a page that shows it without anything from
//! outside.

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

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
static TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_string());

/// `GET /api/v1/openapi.json`.
pub(super) async fn json() -> Response {
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// `GET /api/v1/docs`: the document as a page.
pub(super) async fn page() -> Result<Html<String>, Problem> {
    let page = Page { groups: groups(&DOCUMENT), schemas: schemas(&DOCUMENT) };
    page.render().map(Html).map_err(|_| Problem::internal())
}

fn document() -> Value {
    let mut made = Schemas::new();
    let mut paths = Map::new();
    for operation in operations::all() {
        let path = paths.entry(operation.documented_path()).or_insert_with(|| json!({}));
        path[operation.method] = operation.describe(&mut made);
    }
    let problem = made.answer::<ProblemBody>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Jackfield admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything that the console and the command line do. A request with an \
                unknown member or parameter is refused. Answers may get further members.",
        },
        // Relative to the document, so that it is right below a path of a proxy too.
        "servers": [{"url": "../v1"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"Problem": {
                "description": "Why the request was refused (RFC 9457)",
                "content": {"application/problem+json": {"schema": problem}},
            }},
            "schemas": made.into_named(),
        },
    })
}

#[derive(Template)]
#[template(path = "api_docs.html")]
struct Page {
    groups: Vec<Group>,
    schemas: Vec<Shape>,
}

/// The operations below one part of the path.
struct Group {
    name: String,
    operations: Vec<Shown>,
}

struct Shown {
    method: String,
    path: String,
    summary: String,
    parameters: Vec<Member>,
    /// The name of the schema of the body, or what it is.
    body: Option<String>,
    /// Statuses, each with the name of a schema if it has one.
    answers: Vec<(String, Option<String>)>,
    problems: String,
}

/// An object with its members.
struct Shape {
    name: String,
    description: String,
    members: Vec<Member>,
}

struct Member {
    name: String,
    kind: String,
    required: bool,
    description: String,
}

fn groups(document: &Value) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let name = text(&operation["tags"][0]);
            let shown = shown(method, path, operation);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.operations.push(shown),
                None => groups.push(Group { name, operations: vec![shown] }),
            }
        }
    }
    groups
}

fn shown(method: &str, path: &str, operation: &Value) -> Shown {
    let body = operation["requestBody"]["content"].as_object().and_then(|it| it.iter().next());
    let body =
        body.map(|(kind, content)| name_of(&content["schema"]).unwrap_or_else(|| kind.clone()));
    let (mut answers, mut problems) = (Vec::new(), Vec::new());
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        if response.get("$ref").is_some() {
            problems.push(status.as_str());
        } else {
            answers.push((
                status.clone(),
                name_of(&response["content"]["application/json"]["schema"]),
            ));
        }
    }
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameter = |it: &Value| Member {
        name: text(&it["name"]),
        kind: format!("{}, {}", text(&it["in"]), kind_of(&it["schema"])),
        required: it["required"] == true,
        description: text(&it["description"]),
    };
    Shown {
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        parameters: parameters.map(parameter).collect(),
        body,
        answers,
        problems: problems.join(", "),
    }
}

fn schemas(document: &Value) -> Vec<Shape> {
    let all = document["components"]["schemas"].as_object().into_iter().flatten();
    all.map(|(name, schema)| {
        let required: Vec<_> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let members = schema["properties"].as_object().into_iter().flatten();
        let members = members.map(|(name, member)| Member {
            name: name.clone(),
            kind: kind_of(member),
            required: required.contains(&name.as_str()),
            description: text(&member["description"]),
        });
        Shape {
            name: name.clone(),
            description: text(&schema["description"]),
            members: members.collect(),
        }
    })
    .collect()
}

/// The name of the schema to which a reference leads.
fn name_of(schema: &Value) -> Option<String> {
    schema["$ref"].as_str().and_then(|it| it.rsplit('/').next()).map(str::to_owned)
}

/// What a value is, in a few words.
fn kind_of(schema: &Value) -> String {
    if let Some(name) = name_of(schema) {
        return name;
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(text).collect::<Vec<_>>().join(" | ");
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().map(kind_of).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", kind_of(&schema["items"])),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
        _ => "any JSON".to_owned(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The methods and paths that the server has, from the source of the routes.
    fn routes() -> BTreeSet<(String, String)> {
        let source = include_str!("routes.rs").split_whitespace().collect::<Vec<_>>().join(" ");
        let source = source.replace("( ", "(");
        let mut routes = BTreeSet::new();
        for function in ["fn admin_api(", "fn uploads("] {
            let (_, text) = source.split_once(function).expect("the function");
            let text = text.split(" fn ").next().expect("its text");
            for declared in ["get", "post", "ask", "put", "patch", "delete", "any"] {
                for call in text.split(&format!(".{declared}(\"")).skip(1) {
                    let path = call.split('"').next().expect("a path").replace("{*", "{");
                    let methods: &[&str] = match declared {
                        "any" => &["get", "post"],
                        "ask" => &["post"],
                        method => &[method],
                    };
                    routes.extend(methods.iter().map(|it| ((*it).to_owned(), path.clone())));
                }
            }
        }
        routes
    }

    #[test]
    fn the_document_has_each_route_and_no_other() {
        let mut documented = BTreeSet::new();
        for (path, methods) in DOCUMENT["paths"].as_object().expect("paths") {
            for method in methods.as_object().expect("methods").keys() {
                documented.insert((method.clone(), path.clone()));
            }
        }
        assert!(documented.len() > 30);
        assert_eq!(documented, routes());
    }

    #[test]
    fn each_reference_leads_somewhere_and_each_type_of_the_api_is_there() {
        let text = TEXT.as_str();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().expect("a pointer");
            assert!(DOCUMENT.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
        let schemas = &DOCUMENT["components"]["schemas"];
        for name in
            ["Connection", "EditConnection", "EventReplay", "Problem", "SettingError", "Usage"]
        {
            assert!(schemas[name]["properties"].is_object(), "{name}: {}", schemas[name]);
        }
        let ids: Vec<_> = text.split("\"operationId\":\"").skip(1).collect();
        let unique: BTreeSet<_> = ids.iter().filter_map(|it| it.split('"').next()).collect();
        assert_eq!(unique.len(), ids.len());
    }

    #[test]
    fn a_request_may_lack_what_an_answer_has() {
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
