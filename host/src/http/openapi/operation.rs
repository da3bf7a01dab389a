//! Describes one operation of the admin API for the OpenAPI document. `operations.rs` lists the
//! operations.

#![expect(clippy::indexing_slicing, reason = "a missing member of a JSON value reads as null")]

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The JSON pointer to the named schemas in the OpenAPI document.
const SCHEMAS_POINTER: &str = "/components/schemas";
/// The statuses of the problems with which every operation may answer.
const COMMON_PROBLEMS: [u16; 5] = [400, 401, 413, 429, 503];

/// Generates the schemas of requests and of answers separately, because they differ: a member with
/// a default may be absent in a request, but is always present in an answer.
pub(super) struct Schemas {
    answer_generator: SchemaGenerator,
    request_generator: SchemaGenerator,
    /// The schemas of whole request bodies, by the names of the schemas.
    bodies: Map<String, Value>,
}

/// A function that generates the schema of one type.
type SchemaOf = fn(&mut Schemas) -> Value;

enum RequestContent {
    Nothing,
    /// The body is JSON. An absent body counts as an empty object.
    Json(SchemaOf),
    File,
}

enum AnswerContent {
    Nothing,
    Json(SchemaOf),
    Page,
}

/// One operation of the API: a method and a path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// The path below `/api/v1`.
    pub(super) path: &'static str,
    /// The `operationId`, which is unique in the document.
    id: &'static str,
    summary: &'static str,
    /// The schema whose members are the parameters of the query.
    query: Option<SchemaOf>,
    content: RequestContent,
    has_if_match: bool,
    answers: Vec<(u16, AnswerContent)>,
    /// The statuses of problems in addition to [`COMMON_PROBLEMS`].
    problems: Vec<u16>,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let generator = |contract, inline_subschemas| {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = SCHEMAS_POINTER.into();
            settings.meta_schema = None;
            settings.contract = contract;
            settings.inline_subschemas = inline_subschemas;
            settings.into_generator()
        };
        Self {
            answer_generator: generator(Contract::Serialize, false),
            request_generator: generator(Contract::Deserialize, true),
            bodies: Map::new(),
        }
    }

    pub(super) fn into_named(mut self) -> Map<String, Value> {
        let mut named = self.answer_generator.take_definitions(true);
        named.extend(self.bodies);
        named
    }

    pub(super) fn answer_schema<T: JsonSchema>(&mut self) -> Value {
        self.answer_generator.subschema_for::<T>().into()
    }

    fn body_schema<T: JsonSchema>(&mut self) -> Value {
        let name = T::schema_name().into_owned();
        let schema = self.request_generator.subschema_for::<T>().into();
        self.bodies.insert(name.clone(), schema);
        json!({"$ref": format!("#{SCHEMAS_POINTER}/{name}")})
    }

    fn query_schema<T: JsonSchema>(&mut self) -> Value {
        self.request_generator.subschema_for::<T>().into()
    }
}

macro_rules! methods {
    ($($name:ident)+) => {$(
        /// Begins the description of an operation with this method.
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
            content: RequestContent::Nothing,
            has_if_match: false,
            answers: Vec::new(),
            problems,
        }
    }

    /// Adds a query whose parameters are the members of `T`.
    pub(super) fn with_query<T: JsonSchema>(self) -> Self {
        Self { query: Some(Schemas::query_schema::<T>), ..self }
    }

    pub(super) fn with_body<T: JsonSchema>(self) -> Self {
        Self { content: RequestContent::Json(Schemas::body_schema::<T>), ..self }
    }

    pub(super) fn with_file_body(self) -> Self {
        Self { content: RequestContent::File, ..self }
    }

    /// Adds the header `If-Match`, and the problem for a record whose revision does not match.
    pub(super) fn with_if_match(self) -> Self {
        Self { has_if_match: true, ..self }.with_problems(&[412])
    }

    pub(super) fn with_answer<T: JsonSchema>(mut self, status: u16) -> Self {
        self.answers.push((status, AnswerContent::Json(Schemas::answer_schema::<T>)));
        self
    }

    pub(super) fn with_empty_answer(mut self) -> Self {
        self.answers.push((204, AnswerContent::Nothing));
        self
    }

    pub(super) fn with_page_answer(mut self) -> Self {
        self.answers.push((200, AnswerContent::Page));
        self
    }

    /// Adds problems with these statuses, in addition to [`COMMON_PROBLEMS`].
    pub(super) fn with_problems(mut self, statuses: &[u16]) -> Self {
        self.problems.extend(statuses);
        self
    }

    pub(super) fn describe(&self, schemas: &mut Schemas) -> Value {
        let mut described = json!({
            "operationId": self.id,
            "summary": self.summary,
            "tags": [self.tag()],
            "parameters": self.describe_parameters(schemas),
            "responses": self.describe_responses(schemas),
        });
        let body = match self.content {
            RequestContent::Nothing => None,
            RequestContent::Json(schema) => Some(("application/json", schema(schemas))),
            RequestContent::File => Some(("application/octet-stream", json!({}))),
        };
        if let Some((media_type, schema)) = body {
            described["requestBody"] = json!({"content": {media_type: {"schema": schema}}});
        }
        described
    }

    /// The first segment of the path, under which the operation is listed.
    pub(super) fn tag(&self) -> &'static str {
        self.path.split('/').nth(1).unwrap_or_default()
    }

    fn describe_parameters(&self, schemas: &mut Schemas) -> Vec<Value> {
        let mut parameters = Vec::new();
        for part in self.path.split('{').skip(1) {
            let name = part.split('}').next().unwrap_or_default().trim_start_matches('*');
            parameters.push(json!({"name": name, "in": "path", "required": true,
                "description": describe_path_parameter(name), "schema": {"type": "string"}}));
        }
        let query = self.query.map(|query| query(schemas)).unwrap_or_default();
        let required = query["required"].as_array().cloned().unwrap_or_default();
        for (name, schema) in query["properties"].as_object().into_iter().flatten() {
            let mut schema = schema.clone();
            let description =
                schema.as_object_mut().and_then(|object| object.remove("description"));
            parameters.push(json!({"name": name, "in": "query", "description": description,
                "required": required.iter().any(|member| member == name), "schema": schema}));
        }
        if self.has_if_match {
            parameters.push(json!({"name": "If-Match", "in": "header", "required": false,
                "description": "The `ETag` of the revision to change. Without this header, the \
                    current revision is changed.", "schema": {"type": "string"}}));
        }
        parameters
    }

    fn describe_responses(&self, schemas: &mut Schemas) -> Value {
        let mut responses = Map::new();
        for (status, schema) in &self.answers {
            let described = match schema {
                AnswerContent::Json(schema) => json!({"description": "Done",
                    "content": {"application/json": {"schema": schema(schemas)}}}),
                AnswerContent::Page => json!({"description": "Done", "content": {"text/html": {}}}),
                AnswerContent::Nothing => json!({"description": "Done"}),
            };
            responses.insert(status.to_string(), described);
        }
        for status in COMMON_PROBLEMS.iter().chain(&self.problems) {
            let problem = json!({"$ref": "#/components/responses/Problem"});
            responses.entry(status.to_string()).or_insert(problem);
        }
        Value::Object(responses)
    }

    /// The path in the syntax of OpenAPI, which has no wildcard `{*name}`.
    pub(super) fn documented_path(&self) -> String {
        self.path.replace("{*", "{")
    }
}

fn describe_path_parameter(name: &str) -> &'static str {
    match name {
        "name" => "The name of the connector",
        "path" => "A path below the webhook URL",
        _ => "The id of the record; for a connection or a token, its id or its name",
    }
}
