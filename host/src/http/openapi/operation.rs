//! One operation of the admin API as the OpenAPI document describes it.

#![expect(clippy::indexing_slicing, reason = "a missing member of a JSON value reads as null")]

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The place of the named schemas in the document.
const SCHEMAS: &str = "/components/schemas";
/// Statuses that each operation may answer: a wrong request or token, a body that is too large, too
/// many failed logins, a store that cannot be used.
const ALWAYS: [u16; 5] = [400, 401, 413, 429, 503];

/// Makes the schemas of requests and answers. An absent member of a request has its default, while
/// an answer always has it, so both are made apart.
pub(super) struct Schemas {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
    /// The schemas of whole request bodies, by their names.
    bodies: Map<String, Value>,
}

type SchemaOf = fn(&mut Schemas) -> Value;

/// What a request contains besides its path.
enum Content {
    Nothing,
    /// JSON; an absent body counts as an empty object.
    Json(SchemaOf),
    /// The bytes of a file.
    File,
}

/// What an operation answers.
enum Answer {
    Nothing,
    Json(SchemaOf),
    Page,
}

/// A method and a path with everything that a client needs to know.
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// The path below `/api/v1`.
    pub(super) path: &'static str,
    id: &'static str,
    summary: &'static str,
    query: Option<SchemaOf>,
    content: Content,
    has_if_match: bool,
    answers: Vec<(u16, Answer)>,
    problems: Vec<u16>,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = |contract, inlines| {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = SCHEMAS.into();
            settings.meta_schema = None;
            settings.contract = contract;
            settings.inline_subschemas = inlines;
            settings.into_generator()
        };
        let (answers, requests) =
            (settings(Contract::Serialize, false), settings(Contract::Deserialize, true));
        Self { answers, requests, bodies: Map::new() }
    }

    /// All named schemas.
    pub(super) fn into_named(mut self) -> Map<String, Value> {
        let mut named = self.answers.take_definitions(true);
        named.extend(self.bodies);
        named
    }

    pub(super) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().into()
    }

    fn body<T: JsonSchema>(&mut self) -> Value {
        let name = T::schema_name().into_owned();
        let schema = self.requests.subschema_for::<T>().into();
        self.bodies.insert(name.clone(), schema);
        json!({"$ref": format!("#{SCHEMAS}/{name}")})
    }

    fn query<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().into()
    }
}

macro_rules! methods {
    ($($name:ident)+) => {$(
        /// Describes an operation with this method. `id` is unique in the document.
        pub(super) fn $name(path: &'static str, id: &'static str, summary: &'static str) -> Self {
            Self::new(stringify!($name), path, id, summary)
        }
    )+};
}

impl Operation {
    methods!(get post put patch delete);

    fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        let problems = if path.contains('{') { vec![403, 404] } else { vec![403] };
        Self {
            method,
            path,
            id,
            summary,
            query: None,
            content: Content::Nothing,
            has_if_match: false,
            answers: Vec::new(),
            problems,
        }
    }

    /// Takes the members of this type as parameters of its query.
    pub(super) fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(Schemas::query::<T>), ..self }
    }

    /// Takes a JSON body of this type.
    pub(super) fn takes<T: JsonSchema>(self) -> Self {
        Self { content: Content::Json(Schemas::body::<T>), ..self }
    }

    /// Takes the bytes of a file.
    pub(super) fn takes_file(self) -> Self {
        Self { content: Content::File, ..self }
    }

    /// Takes the header `If-Match`, and refuses to change another state.
    pub(super) fn if_match(self) -> Self {
        Self { has_if_match: true, ..self }.refuses(&[412])
    }

    /// Answers a value of this type.
    pub(super) fn answers<T: JsonSchema>(mut self, status: u16) -> Self {
        self.answers.push((status, Answer::Json(Schemas::answer::<T>)));
        self
    }

    /// Answers without a body.
    pub(super) fn answers_nothing(mut self) -> Self {
        self.answers.push((204, Answer::Nothing));
        self
    }

    /// Answers a page for people.
    pub(super) fn answers_page(mut self) -> Self {
        self.answers.push((200, Answer::Page));
        self
    }

    /// May answer problems with these statuses, besides those that each operation may answer.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.problems.extend(statuses);
        self
    }

    /// The operation as a member of its path.
    pub(super) fn describe(&self, schemas: &mut Schemas) -> Value {
        let mut described = json!({
            "operationId": self.id,
            "summary": self.summary,
            "tags": [self.tag()],
            "parameters": self.parameters(schemas),
            "responses": self.responses(schemas),
        });
        let body = match self.content {
            Content::Nothing => None,
            Content::Json(schema) => Some(("application/json", schema(schemas))),
            Content::File => Some(("application/octet-stream", json!({}))),
        };
        if let Some((kind, schema)) = body {
            described["requestBody"] = json!({"content": {kind: {"schema": schema}}});
        }
        described
    }

    /// The first part of the path, under which the operation is listed.
    pub(super) fn tag(&self) -> &'static str {
        self.path.split('/').nth(1).unwrap_or_default()
    }

    fn parameters(&self, schemas: &mut Schemas) -> Vec<Value> {
        let mut parameters = Vec::new();
        for part in self.path.split('{').skip(1) {
            let name = part.split('}').next().unwrap_or_default().trim_start_matches('*');
            parameters.push(json!({"name": name, "in": "path", "required": true,
                "description": path_parameter(name), "schema": {"type": "string"}}));
        }
        let query = self.query.map(|query| query(schemas)).unwrap_or_default();
        let required = query["required"].as_array().cloned().unwrap_or_default();
        for (name, schema) in query["properties"].as_object().into_iter().flatten() {
            let mut schema = schema.clone();
            let description = schema.as_object_mut().and_then(|it| it.remove("description"));
            parameters.push(json!({"name": name, "in": "query", "description": description,
                "required": required.iter().any(|it| it == name), "schema": schema}));
        }
        if self.has_if_match {
            parameters.push(json!({"name": "If-Match", "in": "header", "required": false,
                "description": "The `ETag` of the state that is changed. Without it, whatever state \
                    there is is changed.", "schema": {"type": "string"}}));
        }
        parameters
    }

    fn responses(&self, schemas: &mut Schemas) -> Value {
        let mut responses = Map::new();
        for (status, schema) in &self.answers {
            let described = match schema {
                Answer::Json(schema) => json!({"description": "Done",
                    "content": {"application/json": {"schema": schema(schemas)}}}),
                Answer::Page => json!({"description": "Done", "content": {"text/html": {}}}),
                Answer::Nothing => json!({"description": "Done"}),
            };
            responses.insert(status.to_string(), described);
        }
        for status in ALWAYS.iter().chain(&self.problems) {
            let problem = json!({"$ref": "#/components/responses/Problem"});
            responses.entry(status.to_string()).or_insert(problem);
        }
        Value::Object(responses)
    }

    /// The path as OpenAPI writes it.
    pub(super) fn documented_path(&self) -> String {
        self.path.replace("{*", "{")
    }
}

fn path_parameter(name: &str) -> &'static str {
    match name {
        "name" => "The name of the connector",
        "path" => "A path below the webhook URL",
        _ => "The id; for a connection also its name",
    }
}
