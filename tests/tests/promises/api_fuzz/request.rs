//! Makes random requests from the descriptions of the operations in the OpenAPI document. Some
//! requests match the description, and some have mistakes. This module never sends a request.

use jackfield_tests::{Random, failed_test};
use serde_json::{Map, Value, json};

/// The value of every secret that a request contains.
pub(crate) const SECRET: &str = "s3cr3t-of-the-api-fuzzer";
/// Texts that programs often handle wrongly.
const ODD_TEXTS: [&str; 14] = [
    "",
    " ",
    "a",
    "..",
    "/",
    "%00",
    "null",
    "ü\u{202e}x",
    "'; DROP TABLE events; --",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "00000000-0000-0000-0000-000000000000",
    "2026-01-01T00:00:00Z",
    "http://127.0.0.1:1/",
];
/// A JSON value at this depth of nesting, or deeper, has no optional members.
const OPTIONAL_DEPTH_MAX: usize = 5;

/// Names of connectors and ids of other objects on the server, and values for new objects.
pub(crate) struct ExistingObjects {
    pub(crate) connections: Vec<String>,
    pub(crate) connectors: Vec<String>,
    pub(crate) events: Vec<String>,
    pub(crate) defects: Vec<String>,
    pub(crate) tokens: Vec<String>,
    pub(crate) tracker_url: String,
    /// The bytes of a valid connector.
    pub(crate) connector_file: Vec<u8>,
}

pub(crate) struct Operation {
    pub(crate) id: String,
    /// In upper case.
    pub(crate) method: String,
    /// With parameters such as `{id}`.
    path: String,
    description: Value,
}

pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the parameters in the path have odd values, so that the path may belong to another
    /// operation or to none.
    pub(crate) has_odd_path: bool,
}

impl Operation {
    pub(crate) fn new(method: &str, path: &str, description: &Value) -> Self {
        let id = description["operationId"].as_str().expect("an id").to_owned();
        let (method, path) = (method.to_uppercase(), path.to_owned());
        Self { id, method, path, description: description.clone() }
    }

    pub(crate) fn statuses(&self) -> Vec<u16> {
        let responses = self.description["responses"].as_object().expect("responses");
        responses.keys().filter_map(|status| status.parse().ok()).collect()
    }

    pub(crate) fn answer_schema(&self, status: u16) -> Option<Value> {
        let response = &self.description["responses"][status.to_string()];
        response["content"]["application/json"].get("schema").cloned()
    }

    pub(crate) fn answer_schemas(&self) -> Vec<Value> {
        self.statuses().into_iter().filter_map(|status| self.answer_schema(status)).collect()
    }

    pub(crate) fn random_request(
        &self,
        random: &mut Random,
        existing: &ExistingObjects,
    ) -> Request {
        let has_odd_path = random.one_in(12);
        let mut path = String::new();
        for part in self.path.split_inclusive(['{', '}']) {
            match part.strip_suffix('}') {
                Some(name) => {
                    path.push_str(&self.random_path_value(name, has_odd_path, random, existing));
                }
                None => path.push_str(part.trim_end_matches('{')),
            }
        }
        path.push_str(&self.random_query(random, existing));
        let mut headers = vec![("content-type", "application/json".to_owned())];
        let has_if_match = self.parameters().any(|parameter| parameter["name"] == "If-Match");
        if has_if_match && random.one_in(4) {
            let tags = ["*", "\"1\"", "\"2\", \"3\"", "W/\"1\"", "1", "\""];
            headers.push(("if-match", (*random.pick(&tags)).to_owned()));
        }
        let body = self.random_body(random, existing);
        Request { method: self.method.clone(), path, headers, body, has_odd_path }
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        self.description["parameters"].as_array().into_iter().flatten()
    }

    fn random_path_value(
        &self,
        name: &str,
        has_odd_path: bool,
        random: &mut Random,
        existing: &ExistingObjects,
    ) -> String {
        if has_odd_path {
            return match random.below(3) {
                0 => String::from("%ff%fe"),
                1 => "x".repeat(2_000),
                _ => percent_encoded(random.pick::<&str>(&ODD_TEXTS)),
            };
        }
        if name == "path" {
            let paths = ["defects", "isalive", "kpis/project/p/defectstatus", "x/y", "new%20one"];
            return (*random.pick(&paths)).to_owned();
        }
        let pool = match self.path.split('/').nth(1).unwrap_or_default() {
            "connections" => &existing.connections,
            "connectors" => &existing.connectors,
            "events" => &existing.events,
            "defects" => &existing.defects,
            _ => &existing.tokens,
        };
        if pool.is_empty() { "none".to_owned() } else { random.pick(pool).clone() }
    }

    /// Returns a random query with its `?`, or an empty text.
    fn random_query(&self, random: &mut Random, existing: &ExistingObjects) -> String {
        let mut pairs = Vec::new();
        for parameter in self.parameters().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap_or_default();
            if parameter["required"] != true && !random.one_in(3) {
                continue;
            }
            let value = match (name, random.one_in(8)) {
                (_, true) => (*random.pick(&ODD_TEXTS)).to_owned(),
                ("connection", _) => random.pick(&existing.connections).clone(),
                ("limit", _) => (1 + random.below(200)).to_string(),
                _ => match random_value(&parameter["schema"], name, random, existing, 0) {
                    Value::String(text) => text,
                    other => other.to_string(),
                },
            };
            pairs.push(format!("{name}={}", percent_encoded(&value)));
        }
        if random.one_in(30) {
            pairs.push("no-such-parameter=1".to_owned());
        }
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }

    fn random_body(&self, random: &mut Random, existing: &ExistingObjects) -> Vec<u8> {
        let content = &self.description["requestBody"]["content"];
        if content["application/octet-stream"].is_object() {
            return match random.below(8) {
                0 => random.bytes(300),
                1 => Vec::new(),
                2 => b"export const plugin = {".to_vec(),
                _ => existing.connector_file.clone(),
            };
        }
        let schema = &content["application/json"]["schema"];
        if schema.is_null() || random.one_in(12) {
            return Vec::new();
        }
        match random.below(40) {
            0 => return random.bytes(50),
            1 => return b"{\"a\":".to_vec(),
            2 => return b"[1,null,{}]".to_vec(),
            3 => return "[".repeat(500).into_bytes(),
            4 if random.one_in(10) => return vec![b' '; (1 << 20) + 1],
            _ => {}
        }
        let mut body = if self.id == "writeHook" && !random.one_in(5) {
            failed_test()
        } else {
            random_value(schema, "", random, existing, 0)
        };
        if random.one_in(3) {
            insert_mistake(&mut body, random);
        }
        body.to_string().into_bytes()
    }
}

/// Returns a random value of a type that the schema allows. `name` is the name of the member that
/// gets the value: for some members, the server accepts only some of the allowed values.
fn random_value(
    schema: &Value,
    name: &str,
    random: &mut Random,
    existing: &ExistingObjects,
    depth: usize,
) -> Value {
    if let Some(value) = accepted_value(name, schema, random, existing) {
        return value;
    }
    if let Some(words) = schema["enum"].as_array() {
        return random.pick(words).clone();
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let choice = random.pick(choices).clone();
        return random_value(&choice, "", random, existing, depth + 1);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => vec!["string", "integer", "object", "null"],
    };
    match *random.pick(&types) {
        "object" => random_object(schema, random, existing, depth),
        "array" => {
            let count = if depth > OPTIONAL_DEPTH_MAX { 0 } else { random.below(3) };
            let item = |_| random_value(&schema["items"], "", random, existing, depth + 1);
            (0..count).map(item).collect()
        }
        "integer" | "number" => json!(random.pick(&[0, 1, 7, 60, 300, 86_400])),
        "boolean" => json!(random.one_in(2)),
        "null" => Value::Null,
        _ => match schema["format"].as_str() {
            Some("password") => json!(SECRET),
            Some("uuid") => json!(uuid::Uuid::from_u128(random.below(9) as u128)),
            Some("date-time") => json!("2026-11-29T08:00:00Z"),
            _ => json!(random.pick(&ODD_TEXTS)),
        },
    }
}

/// Returns a JSON object with all required members and random other members of the schema.
fn random_object(
    schema: &Value,
    random: &mut Random,
    existing: &ExistingObjects,
    depth: usize,
) -> Value {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut members = Map::new();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        if required.iter().any(|other| other == name)
            || depth < OPTIONAL_DEPTH_MAX && random.one_in(3)
        {
            members.insert(name.clone(), random_value(member, name, random, existing, depth + 1));
        }
    }
    let additional = &schema["additionalProperties"];
    if additional.is_object() && depth < OPTIONAL_DEPTH_MAX && random.one_in(2) {
        let name = *random.pick(&["url", "api-key", "x", "title_template"]);
        members.insert(name.to_owned(), random_value(additional, "", random, existing, depth + 1));
    }
    Value::Object(members)
}

/// Returns a value that the server accepts, for a member whose schema also allows other values.
/// Returns `None` for all other members, and sometimes for these members.
fn accepted_value(
    name: &str,
    schema: &Value,
    random: &mut Random,
    existing: &ExistingObjects,
) -> Option<Value> {
    if random.one_in(6) {
        return None;
    }
    Some(match name {
        "connector" => json!(random.pick(&existing.connectors)),
        "settings" => json!({"url": existing.tracker_url}),
        "secrets" | "report" => json!({}),
        "name" => json!(format!("name-{}", random.below(1_000_000))),
        "connections" if schema["type"] == "object" => {
            let connection =
                json!({"connector": "good", "settings": {"url": existing.tracker_url}});
            json!({format!("file-{}", random.below(3)): connection})
        }
        "connections" => json!([random.pick(&existing.connections)]),
        "test_manager" | "client_cert" | "client_key" | "test_manager_client_secret" => Value::Null,
        "webhook_paths" => json!({"create_defect": ["/new"], "kpis": []}),
        "path" => json!(format!("/path-{}", random.below(15))),
        "adopt" => json!("KEY-1"),
        "link" => json!("https://t.example/1"),
        "version" => json!("newest"),
        "setting" => json!("url"),
        "for_real" => json!(random.one_in(3)),
        _ => return None,
    })
}

/// Makes one change to a valid body. Usually, the body then has a mistake.
fn insert_mistake(body: &mut Value, random: &mut Random) {
    let Some(members) = body.as_object_mut() else {
        *body = json!({"no-such-member": 1});
        return;
    };
    let names: Vec<_> = members.keys().cloned().collect();
    match random.below(4) {
        0 => {
            members.insert("no-such-member".to_owned(), json!(1));
        }
        1 if !names.is_empty() => {
            members.remove(random.pick(&names));
        }
        2 if !names.is_empty() => {
            let long = "ä".repeat(3_000);
            members.insert(random.pick(&names).clone(), json!(long));
        }
        _ => {
            let name = names.first().cloned().unwrap_or_default();
            let wrong_values =
                [json!(null), json!(-1), json!(1e300), json!([[[]]]), json!({"a": {}})];
            members.insert(name, random.pick(&wrong_values).clone());
        }
    }
}

fn percent_encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
