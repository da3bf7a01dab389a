//! Each route of the server answers each role as the table below says. The routes are read from the
//! source of the server, so a new route fails until it has a row here.

use std::collections::BTreeMap;

use jackfield_tests::{
    Answer, Client, Connection, Reply, ScriptedServer, Setup, TestHost, failed_test,
};
use serde_json::{Value, json};

/// The accounts, in the order of the columns: no account, then each role.
const ROLES: [&str; 4] = ["viewer", "operator", "author", "admin"];

/// For each route of the admin API and of pages: whether no account, viewer, operator, author and
/// admin may use it; and what an admin sees who is limited to one connection.
///
/// `own`: the own connection and what belongs to it; any other is not found. `list`: the list has
/// only what is its own. `yes`: the same as everybody. `no`: refused.
const TABLE: &str = "
GET    /api/v1/status                        | no yes yes yes yes | yes
GET    /api/v1/openapi.json                  | no yes yes yes yes | yes
GET    /api/v1/docs                          | no yes yes yes yes | yes
GET    /api/v1/export                        | no no  no  no  yes | no
POST   /api/v1/apply                         | no no  no  no  yes | no
GET    /api/v1/connections                   | no yes yes yes yes | list
POST   /api/v1/connections                   | no no  no  no  yes | no
GET    /api/v1/connections/{id}              | no yes yes yes yes | own
PATCH  /api/v1/connections/{id}              | no no  no  no  yes | own
DELETE /api/v1/connections/{id}              | no no  no  no  yes | own
POST   /api/v1/connections/{id}/rotate-token | no no  no  no  yes | own
POST   /api/v1/connections/{id}/pause        | no no  yes yes yes | own
POST   /api/v1/connections/{id}/resume       | no no  yes yes yes | own
POST   /api/v1/connections/{id}/record       | no no  no  yes yes | own
DELETE /api/v1/connections/{id}/record       | no no  no  yes yes | own
POST   /api/v1/connections/{id}/try          | no no  yes yes yes | own
POST   /api/v1/connections/{id}/choices      | no no  yes yes yes | own
POST   /api/v1/connections/{id}/paths        | no no  no  no  yes | own
POST   /api/v1/connections/{id}/preview      | no no  yes yes yes | own
POST   /api/v1/connections/{id}/accept       | no no  no  no  yes | own
ANY    /api/v1/connections/{id}/hook/{*path} | no no  yes yes yes | own
GET    /api/v1/connectors                    | no yes yes yes yes | yes
GET    /api/v1/connectors/{name}             | no yes yes yes yes | yes
PUT    /api/v1/connectors/{name}             | no no  no  yes yes | no
DELETE /api/v1/connectors/{name}             | no no  no  yes yes | no
POST   /api/v1/connectors/{name}/choices     | no no  no  no  yes | no
POST   /api/v1/connectors/{name}/rollback    | no no  no  yes yes | no
GET    /api/v1/events                        | no yes yes yes yes | list
GET    /api/v1/events/{id}                   | no yes yes yes yes | own
GET    /api/v1/events/{id}/recording         | no no  yes yes yes | own
POST   /api/v1/events/{id}/replay            | no no  yes yes yes | own
GET    /api/v1/defects                       | no yes yes yes yes | list
GET    /api/v1/defects/{id}                  | no yes yes yes yes | own
POST   /api/v1/defects/{id}/resolve          | no no  yes yes yes | own
POST   /api/v1/defects/{id}/release          | no no  yes yes yes | own
GET    /api/v1/account                       | no yes yes yes yes | yes
GET    /api/v1/audit                         | no no  no  no  yes | no
GET    /api/v1/tokens                        | no no  no  no  yes | no
POST   /api/v1/tokens                        | no no  no  no  yes | no
DELETE /api/v1/tokens/{id}                   | no no  no  no  yes | no
GET    /metrics                              | no yes yes yes yes | list
POST   /sign-out                             | no yes yes yes yes | yes
GET    /                                     | no yes yes yes yes | list
GET    /events                               | no yes yes yes yes | list
GET    /events/{id}                          | no yes yes yes yes | own
GET    /events/{id}/replay                   | no no  yes yes yes | own
POST   /events/{id}/replay                   | no no  yes yes yes | own
GET    /events/{id}/repeat                   | no no  yes yes yes | own
POST   /events/{id}/repeat                   | no no  yes yes yes | own
GET    /connectors                           | no yes yes yes yes | yes
GET    /connectors/{name}                    | no yes yes yes yes | yes
POST   /connectors                           | no no  no  yes yes | no
GET    /connectors/{name}/remove             | no no  no  yes yes | no
POST   /connectors/{name}/remove             | no no  no  yes yes | no
GET    /connectors/{name}/rollback/{sha256}  | no no  no  yes yes | no
POST   /connectors/{name}/rollback/{sha256}  | no no  no  yes yes | no
GET    /defects                              | no yes yes yes yes | list
GET    /defects/{id}                         | no yes yes yes yes | own
GET    /defects/{id}/{decision}              | no no  yes yes yes | own
POST   /defects/{id}/{decision}              | no no  yes yes yes | own
GET    /defects/{id}/release                 | no no  yes yes yes | own
POST   /defects/{id}/release                 | no no  yes yes yes | own
GET    /unrecognised                         | no yes yes yes yes | list
GET    /unrecognised/{id}/{kind}             | no no  no  no  yes | own
POST   /unrecognised/{id}/{kind}             | no no  no  no  yes | own
POST   /theme                                | no yes yes yes yes | yes
GET    /audit                                | no no  no  no  yes | no
GET    /accounts                             | no no  no  no  yes | no
POST   /accounts                             | no no  no  no  yes | no
GET    /accounts/{id}/revoke                 | no no  no  no  yes | no
POST   /accounts/{id}/revoke                 | no no  no  no  yes | no
GET    /connections                          | no yes yes yes yes | list
GET    /connections/new                      | no no  no  no  yes | no
POST   /connections/new                      | no no  no  no  yes | no
GET    /connections/{id}                     | no yes yes yes yes | own
GET    /connections/{id}/edit                | no no  no  no  yes | own
POST   /connections/{id}/edit                | no no  no  no  yes | own
POST   /connections/new/choices              | no no  no  no  yes | no
POST   /connections/{id}/choices             | no no  no  no  yes | own
POST   /connections/{id}/preview             | no no  yes yes yes | own
GET    /connections/{id}/try                 | no no  yes yes yes | own
POST   /connections/{id}/try                 | no no  yes yes yes | own
GET    /connections/{id}/consent             | no yes yes yes yes | own
POST   /connections/{id}/consent             | no no  no  no  yes | own
GET    /connections/{id}/first-event         | no yes yes yes yes | own
GET    /connections/{id}/pause               | no no  yes yes yes | own
POST   /connections/{id}/pause               | no no  yes yes yes | own
POST   /connections/{id}/resume              | no no  yes yes yes | own
GET    /connections/{id}/rotate-token        | no no  no  no  yes | own
POST   /connections/{id}/rotate-token        | no no  no  no  yes | own
GET    /connections/{id}/record              | no no  no  yes yes | own
POST   /connections/{id}/record              | no no  no  yes yes | own
POST   /connections/{id}/stop-recording      | no no  no  yes yes | own
GET    /connections/{id}/delete              | no no  no  no  yes | own
POST   /connections/{id}/delete              | no no  no  no  yes | own
";

/// The routes that need no account.
const PUBLIC: [&str; 10] = [
    "/healthz",
    "/hooks",
    "/hooks/",
    "/hooks/{*below}",
    "/problems/{code}",
    "/readyz",
    "/sign-in",
    "/sign-in/oidc",
    "/sign-in/oidc/callback",
    "/static/{name}",
];

/// A route: its method and path.
type Route = (String, String);

fn source() -> String {
    let read = |file| std::fs::read_to_string(jackfield_tests::root().join(file));
    let files = ["host/src/http/routes.rs", "host/src/console/routes.rs"];
    let source = files.map(|file| read(file).expect("the routes")).concat();
    source.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(")
}

/// The text of one function.
fn function(source: &str, name: &str) -> String {
    let (_, rest) = source.split_once(&format!("fn {name}(")).expect("the function");
    rest.split(" fn ").next().expect("its text").to_owned()
}

/// The routes that need an account, as the server declares them.
pub(crate) fn routes() -> Vec<Route> {
    let source = source();
    let mut routes = Vec::new();
    for (name, prefix) in [
        ("metrics_page", ""),
        ("admin_api", "/api/v1"),
        ("uploads", "/api/v1"),
        ("pages", ""),
        ("page_uploads", ""),
        ("connection_pages", ""),
    ] {
        let text = function(&source, name);
        for declared in ["get", "post", "ask", "put", "patch", "delete", "any"] {
            for call in text.split(&format!(".{declared}(\"")).skip(1) {
                let path = call.split('"').next().expect("a path");
                let method = if declared == "ask" { "post" } else { declared };
                routes.push((method.to_uppercase(), format!("{prefix}{path}")));
            }
        }
    }
    routes
}

/// The rows of the table, by route.
fn table() -> BTreeMap<Route, (Vec<&'static str>, &'static str)> {
    let rows = TABLE.trim().lines().map(|line| {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let (method, path) = columns[0].split_once(' ').expect("a method and a path");
        let roles = columns[1].split_whitespace().collect();
        ((method.to_owned(), path.trim().to_owned()), (roles, columns[2]))
    });
    rows.collect()
}

#[test]
fn each_route_has_a_row_in_the_table_of_roles() {
    let (declared, table) = (routes(), table());
    for route in &declared {
        assert!(table.contains_key(route), "{route:?} has no row in TABLE");
    }
    for route in table.keys() {
        assert!(declared.contains(route), "{route:?} of TABLE is not a route");
    }
    let mut public: Vec<String> = Vec::new();
    for call in source().split(".route(\"").skip(1) {
        public.push(call.split('"').next().expect("a path").to_owned());
    }
    for path in &public {
        assert!(PUBLIC.contains(&path.as_str()), "{path:?} needs no account; is that right?");
    }
}

/// Two connections with an event and a defect each, and a client for each account.
struct World {
    host: TestHost,
    own: Connection,
    other: Connection,
    clients: BTreeMap<&'static str, Client>,
    /// An event of a request that was not recognised, by the id of its connection.
    unrecognised: BTreeMap<String, String>,
    _tracker: ScriptedServer,
}

impl World {
    fn start() -> Self {
        let tracker = ScriptedServer::start(|_| Reply::created(1));
        let host = Setup::new().guests(["good"]).start();
        let settings = json!({"url": tracker.url()});
        let own = host.connect("own", "good", settings.clone(), json!({}));
        let other = host.connect("other", "good", settings, json!({}));
        let mut clients = BTreeMap::new();
        clients.insert("none", host.anonymous());
        for role in ROLES {
            let token = token(&host, &json!({"name": format!("the {role}"), "role": role}));
            clients.insert(role, host.client_as(&token));
        }
        let limited = json!({"name": "limited", "role": "admin", "connections": ["own"]});
        clients.insert("limited", host.client_as(&token(&host, &limited)));
        let event = |of: &Connection| {
            let sent = format!("{}/unknown", of.webhook_path);
            let answer = host.anonymous().send("PUT", &sent, &[], b"");
            let id = host.event_of(&answer)["id"].as_str().expect("an id").to_owned();
            (of.id.clone(), id)
        };
        let unrecognised = BTreeMap::from([event(&own), event(&other)]);
        Self { host, own, other, clients, unrecognised, _tracker: tracker }
    }

    /// The path of a route for this connection, or for an event or a defect of it.
    fn target(&self, path: &str, of: &Connection) -> String {
        let id = if path.contains("/events/") || path.contains("/defects/") {
            let answer = self.host.create(of, &failed_test());
            let event = self.host.event_of(&answer);
            let kind = if path.contains("/events/") { "id" } else { "defect" };
            event[kind].as_str().expect("an id").to_owned()
        } else if path.contains("/unrecognised/") {
            self.unrecognised[&of.id].clone()
        } else if path.contains("/accounts/") {
            let tokens = self.host.admin().get("/tokens").expect(200);
            tokens["tokens"][0]["id"].as_str().expect("an id").to_owned()
        } else if path.contains("/tokens/") {
            "nobody".to_owned()
        } else {
            of.id.clone()
        };
        path.replace("{id}", &id)
            .replace("{decision}", "retry")
            .replace("{kind}", "create-defect")
            .replace("{sha256}", "0123")
            .replace("{name}", "good")
            .replace("{*path}", "nothing")
    }

    fn send(&self, who: &str, method: &str, path: &str) -> Answer {
        let method = if method == "ANY" { "POST" } else { method };
        // The body is not valid for any route, so that nothing is changed.
        let headers = [("content-type", "application/json")];
        self.clients[who].send(method, path, &headers, b"{\"no-such-member\":1}")
    }
}

fn token(host: &TestHost, body: &Value) -> String {
    let created = host.admin().json("POST", "/tokens", body).expect(201);
    created["token"].as_str().expect("a token").to_owned()
}

/// Whether an answer is one to an account that may use the route.
fn is_allowed(answer: &Answer) -> bool {
    if answer.status == 403 {
        answer.assert_problem(403, "role-too-low");
    }
    ![401, 403, 404].contains(&answer.status) || answer.header("jackfield-event").is_some()
}

#[test]
fn each_role_may_use_exactly_its_routes() {
    let world = World::start();
    for ((method, path), (roles, limited)) in table() {
        // A deletion cannot be sent without deleting.
        let is_deletion = method == "DELETE" && path.ends_with("{id}");
        if is_deletion || path == "/sign-out" {
            continue;
        }
        for (who, expected) in ["none"].iter().chain(&ROLES).zip(&roles) {
            let target = world.target(&path, &world.own);
            let answer = world.send(who, &method, &target);
            // A browser is sent to the page that signs it in.
            let is_page = !path.starts_with("/api/") && path != "/metrics";
            let signed_out = if is_page { 303 } else { 401 };
            let refused = if *who == "none" { signed_out } else { 403 };
            let fits = match *expected {
                "yes" => is_allowed(&answer),
                _ => answer.status == refused,
            };
            assert!(fits, "{who} {method} {path}: expected {expected}, got {answer:?}");
        }
        let own = world.send("limited", &method, &world.target(&path, &world.own));
        let other = world.send("limited", &method, &world.target(&path, &world.other));
        let fits = match limited {
            "own" => is_allowed(&own) && other.status == 404,
            "list" => is_allowed(&own) && !own.body.contains(&world.other.id),
            "yes" => is_allowed(&own),
            _ => own.status == 403,
        };
        assert!(fits, "limited {method} {path}: expected {limited}, got {own:?} and {other:?}");
    }
}

#[test]
fn deletions_need_their_role_and_their_connection() {
    let world = World::start();
    let delete = |who: &str, path: &str| world.send(who, "DELETE", path).status;
    let (own, other) = (
        format!("/api/v1/connections/{}", world.own.id),
        format!("/api/v1/connections/{}", world.other.id),
    );
    assert_eq!(delete("none", &own), 401);
    for who in ["viewer", "operator", "author"] {
        assert_eq!(
            (delete(who, &own), delete(who, "/api/v1/tokens/the%20viewer")),
            (403, 403),
            "{who}"
        );
    }
    assert_eq!((delete("limited", &other), delete("limited", &own)), (404, 204));
    assert_eq!(delete("limited", "/api/v1/tokens/the%20viewer"), 403);
    assert_eq!(delete("admin", &other), 204);
    assert_eq!(delete("admin", "/api/v1/tokens/the%20viewer"), 204);
    assert_eq!(world.send("viewer", "GET", "/api/v1/status").status, 401, "the token was revoked");
}
