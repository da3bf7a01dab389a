//! Requests that are made from the OpenAPI document, valid and invalid ones, to each operation of
//! the admin API: each answer is one that the document describes, none is an internal error, none
//! contains a secret, and the server goes on. The seed is printed; `TEST_SEED` repeats a run.

mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use jackfield_tests::{
    Answer, Client, Guest, Random, Reply, ScriptedServer, Setup, TestHost, api_fuzz_time,
    failed_test, seed,
};
use jsonschema::Validator;
use serde_json::{Value, json};

use request::{Operation, Pools, SECRET};

/// After so many requests, what was deleted is made again.
const ROUND: u64 = 100;

/// The document, with a validator for each schema that an answer may have.
struct Document {
    json: Value,
    validators: BTreeMap<String, Validator>,
}

impl Document {
    fn of(host: &TestHost) -> Self {
        let json = host.admin().get("/openapi.json").expect(200);
        let mut document = Self { json, validators: BTreeMap::new() };
        for operation in document.operations() {
            for schema in operation.answer_schemas() {
                document.add(&schema);
            }
        }
        document.add(&json!({"$ref": "#/components/schemas/Problem"}));
        document
    }

    fn add(&mut self, schema: &Value) {
        let mut root = json!({"components": self.json["components"]});
        root["allOf"] = json!([schema]);
        let validator = jsonschema::draft202012::new(&root);
        let validator = validator.unwrap_or_else(|error| panic!("{error} in {schema}"));
        self.validators.insert(schema.to_string(), validator);
    }

    fn operations(&self) -> Vec<Operation> {
        let paths = self.json["paths"].as_object().expect("paths");
        let each = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods");
            methods.iter().map(|(method, described)| Operation::new(method, path, described))
        });
        each.collect()
    }

    /// Why a value is not what a schema says.
    fn violation(&self, schema: &Value, value: &Value) -> Option<String> {
        let validator = &self.validators[&schema.to_string()];
        let error = validator.iter_errors(value).next()?;
        Some(format!("{error} at {}", error.instance_path()))
    }
}

struct World {
    host: TestHost,
    tracker: ScriptedServer,
    /// Webhook tokens and named tokens, which no later answer may contain.
    issued: BTreeSet<String>,
}

impl World {
    fn start() -> Self {
        let tracker = ScriptedServer::start(|exchange| match exchange.request.is_post() {
            true => Reply::created(1),
            false => Reply::json(200, r#"{"issues":[],"total_count":0}"#),
        });
        let config = "[webhook]\nrequests_per_s = 1000\nrequests_burst = 10000";
        let host = Setup::new().config(config).guests(["good", "instant"]).start();
        Self { host, tracker, issued: BTreeSet::new() }
    }

    /// Makes again what a request has deleted or broken, and lists what requests may name.
    fn repair(&mut self, round: u64) -> Pools {
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
            self.note_issued("createConnection", &created);
            let id = created["id"].as_str().expect("an id").to_owned();
            admin
                .json("POST", &format!("/connections/{id}/record"), &json!({"for_s": 600}))
                .assert_status(200);
            drop(admin.json("POST", &format!("/connections/{id}/hook/defects"), &failed_test()));
            connections.push(id);
        }
        Pools {
            connections,
            connectors: vec!["good".to_owned(), "instant".to_owned()],
            events: self.ids("/events?limit=50", "events", "id"),
            defects: self.ids("/defects?limit=50", "defects", "id"),
            tokens: self.ids("/tokens", "tokens", "id"),
            tracker: self.tracker.url(),
            guest: Guest::named("good").bytes,
        }
    }

    fn ids(&self, path: &str, list: &str, member: &str) -> Vec<String> {
        let listed = self.host.admin().get(path).expect(200);
        let items = listed[list].as_array().expect("a list").iter();
        items.filter_map(|it| it[member].as_str().map(str::to_owned)).collect()
    }

    fn note_issued(&mut self, id: &str, answer: &Value) {
        let members = match id {
            "createConnection" | "rotateToken" => vec![&answer["webhook_url"]],
            "createToken" => vec![&answer["token"]],
            "applyConnections" => {
                let connections = answer["connections"].as_array().expect("a list").iter();
                connections.map(|it| &it["webhook_url"]).collect()
            }
            _ => Vec::new(),
        };
        let tokens = members.into_iter().filter_map(|it| it.as_str()?.rsplit('/').next());
        self.issued.extend(tokens.map(str::to_owned));
    }
}

/// Checks one answer. `is_odd`: the path was not that of the operation any more.
fn check(document: &Document, operation: &Operation, answer: &Answer, is_odd: bool) {
    let status = answer.status;
    assert_ne!(status, 500, "{}: an internal error: {answer:?}", operation.id);
    let is_documented =
        operation.statuses().contains(&status) || is_odd && [404, 405].contains(&status);
    assert!(is_documented, "{}: {status} is not documented: {answer:?}", operation.id);
    if status >= 400 {
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/problem+json"), "{}: {answer:?}", operation.id);
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
fn each_answer_of_the_admin_api_is_one_that_its_document_describes() {
    let mut random = Random::new(seed());
    let mut world = World::start();
    let document = Document::of(&world.host);
    let operations = document.operations();
    assert!(operations.len() > 30, "{}", operations.len());
    let nobody = Client::new(&format!("{}/api/v1", world.host.url()), &[]);
    let (mut requests, mut succeeded) = (0_u64, BTreeSet::new());
    let mut pools = world.repair(0);
    let (begin, longest) = (Instant::now(), api_fuzz_time());
    while begin.elapsed() < longest {
        let operation = random.pick(&operations);
        let request = operation.request(&mut random, &pools);
        let is_signed_in = random.below(20) > 0;
        let client = if is_signed_in { world.host.admin() } else { nobody.clone() };
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = client.send(&request.method, &request.path, &headers, &request.body);
        check(&document, operation, &answer, request.is_odd);
        assert!(
            is_signed_in || answer.status == 401 || request.is_odd,
            "{}: {answer:?}",
            operation.id
        );
        for secret in [SECRET, world.host.admin_token()] {
            assert!(!answer.body.contains(secret), "{}: a secret in {answer:?}", operation.id);
        }
        let leaked = world.issued.iter().find(|it| answer.body.contains(it.as_str()));
        assert_eq!(leaked, None, "{}: a token in {answer:?}", operation.id);
        if answer.status < 300 {
            succeeded.insert(operation.id.clone());
            if answer.body.starts_with('{') {
                world.note_issued(&operation.id, &answer.json());
            }
        }
        requests += 1;
        if requests % ROUND == 0 {
            assert_eq!(world.host.anonymous().get("/healthz").status, 200);
            pools = world.repair(requests);
        }
    }
    println!("{requests} requests to {} operations", operations.len());
    // A change needs values that fit together, which chance rarely finds; other tests send them.
    let reads = operations.iter().filter(|it| it.method == "GET");
    let never: Vec<_> = reads.filter(|it| !succeeded.contains(&it.id)).collect();
    assert!(
        never.is_empty(),
        "no request succeeded: {:?}",
        never.iter().map(|it| &it.id).collect::<Vec<_>>()
    );
    let output = world.host.output();
    assert!(!output.contains("panicked") && !output.contains(SECRET), "{output}");
}
