//! Makes requests to an operation from its description: mostly valid, and then with one mistake.

use jackfield_tests::{Random, failed_test};
use serde_json::{Map, Value, json};

/// What each secret of a request is.
pub(crate) const SECRET: &str = "s3cr3t-of-the-api-fuzzer";
/// Texts that are often handled wrongly.
const TEXTS: [&str; 14] = [
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
/// Members of more levels are left out.
const DEPTH_MAX: usize = 5;

/// What exists now, so that requests can name it.
pub(crate) struct Pools {
    pub(crate) connections: Vec<String>,
    pub(crate) connectors: Vec<String>,
    pub(crate) events: Vec<String>,
    pub(crate) defects: Vec<String>,
    pub(crate) tokens: Vec<String>,
    pub(crate) tracker: String,
    pub(crate) guest: Vec<u8>,
}

pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: String,
    path: String,
    described: Value,
}

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether a part of the path may lead to another operation, or to none.
    pub(crate) is_odd: bool,
}

impl Operation {
    pub(crate) fn new(method: &str, path: &str, described: &Value) -> Self {
        let id = described["operationId"].as_str().expect("an id").to_owned();
        let (method, path) = (method.to_uppercase(), path.to_owned());
        Self { id, method, path, described: described.clone() }
    }

    pub(crate) fn statuses(&self) -> Vec<u16> {
        let responses = self.described["responses"].as_object().expect("responses");
        responses.keys().filter_map(|status| status.parse().ok()).collect()
    }

    pub(crate) fn answer_schema(&self, status: u16) -> Option<Value> {
        let response = &self.described["responses"][status.to_string()];
        response["content"]["application/json"].get("schema").cloned()
    }

    pub(crate) fn answer_schemas(&self) -> Vec<Value> {
        self.statuses().into_iter().filter_map(|status| self.answer_schema(status)).collect()
    }

    pub(crate) fn request(&self, random: &mut Random, pools: &Pools) -> Request {
        let is_odd = random.one_in(12);
        let mut path = String::new();
        for part in self.path.split_inclusive(['{', '}']) {
            match part.strip_suffix('}') {
                Some(name) => path.push_str(&self.path_value(name, is_odd, random, pools)),
                None => path.push_str(part.trim_end_matches('{')),
            }
        }
        path.push_str(&self.query(random, pools));
        let mut headers = vec![("content-type", "application/json".to_owned())];
        let has_if_match = self.parameters().any(|it| it["name"] == "If-Match");
        if has_if_match && random.one_in(4) {
            let tags = ["*", "\"1\"", "\"2\", \"3\"", "W/\"1\"", "1", "\""];
            headers.push(("if-match", (*random.pick(&tags)).to_owned()));
        }
        let body = self.body(random, pools);
        Request { method: self.method.clone(), path, headers, body, is_odd }
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        self.described["parameters"].as_array().into_iter().flatten()
    }

    fn path_value(&self, name: &str, is_odd: bool, random: &mut Random, pools: &Pools) -> String {
        if is_odd {
            return match random.below(3) {
                0 => String::from("%ff%fe"),
                1 => "x".repeat(2_000),
                _ => escaped(random.pick::<&str>(&TEXTS)),
            };
        }
        if name == "path" {
            let paths = ["defects", "isalive", "kpis/project/p/defectstatus", "x/y", "new%20one"];
            return (*random.pick(&paths)).to_owned();
        }
        let pool = match self.path.split('/').nth(1).unwrap_or_default() {
            "connections" => &pools.connections,
            "connectors" => &pools.connectors,
            "events" => &pools.events,
            "defects" => &pools.defects,
            _ => &pools.tokens,
        };
        if pool.is_empty() { "none".to_owned() } else { random.pick(pool).clone() }
    }

    fn query(&self, random: &mut Random, pools: &Pools) -> String {
        let mut pairs = Vec::new();
        for parameter in self.parameters().filter(|it| it["in"] == "query") {
            let name = parameter["name"].as_str().unwrap_or_default();
            if parameter["required"] != true && !random.one_in(3) {
                continue;
            }
            let value = match (name, random.one_in(8)) {
                (_, true) => (*random.pick(&TEXTS)).to_owned(),
                ("connection", _) => random.pick(&pools.connections).clone(),
                ("limit", _) => (1 + random.below(200)).to_string(),
                _ => match value(&parameter["schema"], name, random, pools, 0) {
                    Value::String(text) => text,
                    other => other.to_string(),
                },
            };
            pairs.push(format!("{name}={}", escaped(&value)));
        }
        if random.one_in(30) {
            pairs.push("no-such-parameter=1".to_owned());
        }
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }

    fn body(&self, random: &mut Random, pools: &Pools) -> Vec<u8> {
        let content = &self.described["requestBody"]["content"];
        if content["application/octet-stream"].is_object() {
            return match random.below(8) {
                0 => random.bytes(300),
                1 => Vec::new(),
                2 => b"export const plugin = {".to_vec(),
                _ => pools.guest.clone(),
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
            value(schema, "", random, pools, 0)
        };
        if random.one_in(3) {
            spoil(&mut body, random);
        }
        body.to_string().into_bytes()
    }
}

/// A value that a schema allows. `name` is that of the member, for values that must exist.
fn value(schema: &Value, name: &str, random: &mut Random, pools: &Pools, depth: usize) -> Value {
    if let Some(fitting) = existing(name, schema, random, pools) {
        return fitting;
    }
    if let Some(words) = schema["enum"].as_array() {
        return random.pick(words).clone();
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let choice = random.pick(choices).clone();
        return value(&choice, "", random, pools, depth + 1);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec!["string", "integer", "object", "null"],
    };
    match *random.pick(&kinds) {
        "object" => object(schema, random, pools, depth),
        "array" => {
            let count = if depth > DEPTH_MAX { 0 } else { random.below(3) };
            (0..count).map(|_| value(&schema["items"], "", random, pools, depth + 1)).collect()
        }
        "integer" | "number" => json!(random.pick(&[0, 1, 7, 60, 300, 86_400])),
        "boolean" => json!(random.one_in(2)),
        "null" => Value::Null,
        _ => match schema["format"].as_str() {
            Some("password") => json!(SECRET),
            Some("uuid") => json!(uuid::Uuid::from_u128(random.below(9) as u128)),
            Some("date-time") => json!("2026-11-29T08:00:00Z"),
            _ => json!(random.pick(&TEXTS)),
        },
    }
}

fn object(schema: &Value, random: &mut Random, pools: &Pools, depth: usize) -> Value {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut members = Map::new();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        if required.iter().any(|it| it == name) || depth < DEPTH_MAX && random.one_in(3) {
            members.insert(name.clone(), value(member, name, random, pools, depth + 1));
        }
    }
    let more = &schema["additionalProperties"];
    if more.is_object() && depth < DEPTH_MAX && random.one_in(2) {
        let name = *random.pick(&["url", "api-key", "x", "title_template"]);
        members.insert(name.to_owned(), value(more, "", random, pools, depth + 1));
    }
    Value::Object(members)
}

/// A value that refers to something that exists, for members whose schema does not say so.
fn existing(name: &str, schema: &Value, random: &mut Random, pools: &Pools) -> Option<Value> {
    if random.one_in(6) {
        return None;
    }
    Some(match name {
        "connector" => json!(random.pick(&pools.connectors)),
        "settings" => json!({"url": pools.tracker}),
        "secrets" | "report" => json!({}),
        "name" => json!(format!("name-{}", random.below(1_000_000))),
        "connections" if schema["type"] == "object" => {
            let of_file = json!({"connector": "good", "settings": {"url": pools.tracker}});
            json!({format!("file-{}", random.below(3)): of_file})
        }
        "connections" => json!([random.pick(&pools.connections)]),
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

/// Makes one mistake.
fn spoil(body: &mut Value, random: &mut Random) {
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
            let wrong = [json!(null), json!(-1), json!(1e300), json!([[[]]]), json!({"a": {}})];
            members.insert(name, random.pick(&wrong).clone());
        }
    }
}

/// A text in a path or a query.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}
