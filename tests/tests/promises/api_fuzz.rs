//! Fuzzes the admin API with valid and invalid requests, made from the OpenAPI document. The
//! document must describe the answers, and no answer may be an internal error or contain a secret.
//! With the same seed in `TEST_SEED`, the test makes the same random choices again.

mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use jackfield_tests::{
    Answer, Client, Guest, Random, Reply, ScriptedServer, Setup, TestHost, api_fuzz_time,
    failed_test, seed,
};
use jsonschema::Validator;
use serde_json::{Value, json};

use request::{ExistingObjects, Operation, SECRET};

/// The number of requests between two calls of [`FuzzedServer::repair`].
const REQUESTS_PER_ROUND: u64 = 100;

struct Document {
    json: Value,
    /// The key of a validator is the text of its schema.
    validators: BTreeMap<String, Validator>,
}

impl Document {
    fn read(host: &TestHost) -> Self {
        let json = host.admin().get("/openapi.json").expect(200);
        let mut document = Self { json, validators: BTreeMap::new() };
        for operation in document.operations() {
            for schema in operation.answer_schemas() {
                document.add_validator(&schema);
            }
        }
        document.add_validator(&json!({"$ref": "#/components/schemas/Problem"}));
        document
    }

    fn add_validator(&mut self, schema: &Value) {
        let mut root = json!({"components": self.json["components"]});
        root["allOf"] = json!([schema]);
        let validator = jsonschema::draft202012::new(&root);
        let validator = validator.unwrap_or_else(|error| panic!("{error} in {schema}"));
        self.validators.insert(schema.to_string(), validator);
    }

    fn operations(&self) -> Vec<Operation> {
        let paths = self.json["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods");
            methods.iter().map(|(method, description)| Operation::new(method, path, description))
        });
        operations.collect()
    }

    /// Returns how a value violates a schema; `None` if it is valid.
    fn violation(&self, schema: &Value, value: &Value) -> Option<String> {
        let validator = &self.validators[&schema.to_string()];
        let error = validator.iter_errors(value).next()?;
        Some(format!("{error} at {}", error.instance_path()))
    }
}

struct FuzzedServer {
    host: TestHost,
    tracker: ScriptedServer,
    /// The webhook tokens and named tokens that answers contained. No later answer may contain
    /// them.
    issued_tokens: BTreeSet<String>,
}

impl FuzzedServer {
    fn start() -> Self {
        let tracker = ScriptedServer::start(|exchange| match exchange.request.is_post() {
            true => Reply::created(1),
            false => Reply::json(200, r#"{"issues":[],"total_count":0}"#),
        });
        let config = "[webhook]\nrequests_per_s = 1000\nrequests_burst = 10000";
        let host = Setup::new().config(config).guests(["good", "instant"]).start();
        Self { host, tracker, issued_tokens: BTreeSet::new() }
    }

    /// Creates connections until there are three, and uploads the connectors that requests have
    /// deleted or replaced. Returns the objects that the next requests may name.
    fn repair(&mut self, round: u64) -> ExistingObjects {
        let admin = self.host.admin();
        for name in ["good", "instant"] {
            let shown = admin.get(&format!("/connectors/{name}"));
            if shown.status != 200 || shown.json()["sha256"] != Guest::named(name).sha256() {
                let put = admin.send(
                    "PUT",
                    &format!("/connectors/{name}"),
                    &[],
                    &Guest::named(name).bytes,
                );
                assert!([200, 201].contains(&put.status), "{put:?}");
            }
        }
        let mut connections = self.ids("/connections", "connections", "id");
        while connections.len() < 3 {
            let name = format!("c{round}-{}", connections.len());
            let settings = json!({"url": self.tracker.url()});
            let body = json!({"name": name, "connector": "good", "settings": settings});
            let created = admin.json("POST", "/connections", &body).expect(201);
            self.record_issued_tokens("createConnection", &created);
            let id = created["id"].as_str().expect("an id").to_owned();
            admin
                .json("POST", &format!("/connections/{id}/record"), &json!({"for_s": 600}))
                .assert_status(200);
            drop(admin.json("POST", &format!("/connections/{id}/hook/defects"), &failed_test()));
            connections.push(id);
        }
        ExistingObjects {
            connections,
            connectors: vec!["good".to_owned(), "instant".to_owned()],
            events: self.ids("/events?limit=50", "events", "id"),
            defects: self.ids("/defects?limit=50", "defects", "id"),
            tokens: self.ids("/tokens", "tokens", "id"),
            tracker_url: self.tracker.url(),
            connector_file: Guest::named("good").bytes,
        }
    }

    /// Returns a member of each item in a list of the API.
    fn ids(&self, path: &str, list: &str, member: &str) -> Vec<String> {
        let listed = self.host.admin().get(path).expect(200);
        let items = listed[list].as_array().expect("a list").iter();
        items.filter_map(|item| item[member].as_str().map(str::to_owned)).collect()
    }

    fn record_issued_tokens(&mut self, operation_id: &str, answer: &Value) {
        let members = match operation_id {
            "createConnection" | "rotateToken" => vec![&answer["webhook_url"]],
            "createToken" => vec![&answer["token"]],
            "applyConnections" => {
                let connections = answer["connections"].as_array().expect("a list").iter();
                connections.map(|connection| &connection["webhook_url"]).collect()
            }
            _ => Vec::new(),
        };
        let tokens = members.into_iter().filter_map(|text| text.as_str()?.rsplit('/').next());
        self.issued_tokens.extend(tokens.map(str::to_owned));
    }
}

/// If `has_odd_path`, the path may belong to another operation or to none, so 404 and 405 are
/// allowed, too.
fn check_answer(document: &Document, operation: &Operation, answer: &Answer, has_odd_path: bool) {
    let status = answer.status;
    assert_ne!(status, 500, "{}: an internal error: {answer:?}", operation.id);
    let is_documented =
        operation.statuses().contains(&status) || has_odd_path && [404, 405].contains(&status);
    assert!(is_documented, "{}: {status} is not documented: {answer:?}", operation.id);
    if status >= 400 {
        let media_type = answer.header("content-type").unwrap_or_default();
        assert!(media_type.starts_with("application/problem+json"), "{}: {answer:?}", operation.id);
        let problem = json!({"$ref": "#/components/schemas/Problem"});
        let violation = document.violation(&problem, &answer.json());
        assert_eq!(violation, None, "{}: {answer:?}", operation.id);
        assert_eq!(answer.json()["status"], status, "{}: {answer:?}", operation.id);
    } else if let Some(schema) = operation.answer_schema(status) {
        let violation = document.violation(&schema, &answer.json());
        assert_eq!(violation, None, "{}: {answer:?}", operation.id);
    }
}

#[test]
fn each_answer_of_the_admin_api_matches_the_openapi_document() {
    let mut random = Random::new(seed());
    let mut server = FuzzedServer::start();
    let document = Document::read(&server.host);
    let operations = document.operations();
    assert!(operations.len() > 30, "{}", operations.len());
    let anonymous = Client::new(&format!("{}/api/v1", server.host.url()), &[]);
    let (mut requests, mut succeeded) = (0_u64, BTreeSet::new());
    let mut existing = server.repair(0);
    let (start, duration) = (Instant::now(), api_fuzz_time());
    while start.elapsed() < duration {
        let operation = random.pick(&operations);
        let request = operation.random_request(&mut random, &existing);
        let is_signed_in = random.below(20) > 0;
        let client = if is_signed_in { server.host.admin() } else { anonymous.clone() };
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = client.send(&request.method, &request.path, &headers, &request.body);
        check_answer(&document, operation, &answer, request.has_odd_path);
        assert!(
            is_signed_in || answer.status == 401 || request.has_odd_path,
            "{}: {answer:?}",
            operation.id
        );
        for secret in [SECRET, server.host.admin_token()] {
            assert!(!answer.body.contains(secret), "{}: a secret in {answer:?}", operation.id);
        }
        let leaked = server.issued_tokens.iter().find(|token| answer.body.contains(token.as_str()));
        assert_eq!(leaked, None, "{}: a token in {answer:?}", operation.id);
        if answer.status < 300 {
            succeeded.insert(operation.id.clone());
            if answer.body.starts_with('{') {
                server.record_issued_tokens(&operation.id, &answer.json());
            }
        }
        requests += 1;
        if requests % REQUESTS_PER_ROUND == 0 {
            assert_eq!(server.host.anonymous().get("/healthz").status, 200);
            existing = server.repair(requests);
        }
    }
    println!("{requests} requests to {} operations", operations.len());
    // Each read must succeed at least once, but a change need not. A change succeeds only if its
    // values are consistent, and random values rarely are.
    let reads = operations.iter().filter(|operation| operation.method == "GET");
    let failed: Vec<_> =
        reads.map(|operation| &operation.id).filter(|id| !succeeded.contains(*id)).collect();
    assert!(failed.is_empty(), "no request to these operations succeeded: {failed:?}");
    let output = server.host.output();
    assert!(!output.contains("panicked") && !output.contains(SECRET), "{output}");
}
