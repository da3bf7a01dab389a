//! Each route of the server accepts or refuses each role as the table in this file states. The test
//! reads the routes from the source of the server, so it fails for a new route without a row.

use std::collections::BTreeMap;

use jackfield_tests::{
    Answer, Client, Connection, Reply, ScriptedServer, Setup, TestHost, failed_test,
};
use serde_json::{Value, json};

/// The roles, in the order of their columns in the table. The column before these columns is for
/// requests without an account.
const ROLES: [&str; 4] = ["viewer", "operator", "author", "admin"];

/// Each row begins with a route of the admin API or of a page. The next five columns state who may
/// use the route: a request without an account, a viewer, an operator, an author, and an admin. The
/// last column states what the route answers to an admin who is limited to one connection:
///
/// `own`: only the own connection and its records are found. `list`: the list contains only records
/// of the own connection. `yes`: the same answer as to every admin. `no`: the request is refused.
const ROLE_TABLE: &str = "
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
const PUBLIC_PATHS: [&str; 10] = [
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

/// The method and the path of a route.
type Route = (String, String);

/// Returns the source code that declares the routes, with single spaces.
fn read_route_source() -> String {
    let read = |file| std::fs::read_to_string(jackfield_tests::root().join(file));
    let files = ["host/src/http/routes.rs", "host/src/console/routes.rs"];
    let source = files.map(|file| read(file).expect("the routes")).concat();
    source.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(")
}

fn function_source(source: &str, name: &str) -> String {
    let (_, rest) = source.split_once(&format!("fn {name}(")).expect("the function");
    rest.split(" fn ").next().expect("the source of the function").to_owned()
}

/// Returns the routes that need an account, as the server declares them.
pub(crate) fn routes_with_account() -> Vec<Route> {
    let source = read_route_source();
    let mut routes = Vec::new();
    for (name, prefix) in [
        ("metrics_route", ""),
        ("admin_api", "/api/v1"),
        ("uploads", "/api/v1"),
        ("page_routes", ""),
        ("upload_routes", ""),
        ("add_connection_routes", ""),
    ] {
        let text = function_source(&source, name);
        for verb in ["get", "post", "post_without_change", "put", "patch", "delete", "any"] {
            for call in text.split(&format!(".{verb}(\"")).skip(1) {
                let path = call.split('"').next().expect("a path");
                let method = if verb == "post_without_change" { "post" } else { verb };
                routes.push((method.to_uppercase(), format!("{prefix}{path}")));
            }
        }
    }
    routes
}

/// A row consists of the entries for no account and for each role, and of the entry for a limited
/// admin.
fn parse_table() -> BTreeMap<Route, (Vec<&'static str>, &'static str)> {
    let rows = ROLE_TABLE.trim().lines().map(|line| {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let (method, path) = columns[0].split_once(' ').expect("a method and a path");
        let roles = columns[1].split_whitespace().collect();
        ((method.to_owned(), path.trim().to_owned()), (roles, columns[2]))
    });
    rows.collect()
}

#[test]
fn each_route_has_a_row_in_the_table_of_roles() {
    let (declared, table) = (routes_with_account(), parse_table());
    for route in &declared {
        assert!(table.contains_key(route), "{route:?} has no row in ROLE_TABLE");
    }
    for route in table.keys() {
        assert!(declared.contains(route), "{route:?} of ROLE_TABLE is not a route");
    }
    let mut public: Vec<String> = Vec::new();
    for call in read_route_source().split(".route(\"").skip(1) {
        public.push(call.split('"').next().expect("a path").to_owned());
    }
    for path in &public {
        assert!(
            PUBLIC_PATHS.contains(&path.as_str()),
            "{path:?} needs no account and is not in PUBLIC_PATHS"
        );
    }
    for path in PUBLIC_PATHS {
        assert!(public.iter().any(|it| it == path), "{path:?} of PUBLIC_PATHS is not a route");
    }
}

struct ServerWithAccounts {
    host: TestHost,
    /// The only connection that the limited admin may use.
    own_connection: Connection,
    other_connection: Connection,
    /// The clients, by role. Two more keys are `none` (no account) and `limited` (the limited
    /// admin).
    clients: BTreeMap<&'static str, Client>,
    /// The id of an event whose request was not recognised, by the id of its connection.
    unrecognised: BTreeMap<String, String>,
    _tracker: ScriptedServer,
}

impl ServerWithAccounts {
    fn start() -> Self {
        let tracker = ScriptedServer::start(|_| Reply::created(1));
        let host = Setup::new().guests(["good"]).start();
        let settings = json!({"url": tracker.url()});
        let own = host.add_connection("own", "good", settings.clone(), json!({}));
        let other = host.add_connection("other", "good", settings, json!({}));
        let mut clients = BTreeMap::new();
        clients.insert("none", host.anonymous());
        for role in ROLES {
            let token = create_token(&host, &json!({"name": format!("the {role}"), "role": role}));
            clients.insert(role, host.client_as(&token));
        }
        let limited = json!({"name": "limited", "role": "admin", "connections": ["own"]});
        clients.insert("limited", host.client_as(&create_token(&host, &limited)));
        let unrecognised_event = |connection: &Connection| {
            let sent = format!("{}/unknown", connection.webhook_path);
            let answer = host.anonymous().send("PUT", &sent, &[], b"");
            let id = host.event_of(&answer)["id"].as_str().expect("an id").to_owned();
            (connection.id.clone(), id)
        };
        let unrecognised = BTreeMap::from([unrecognised_event(&own), unrecognised_event(&other)]);
        Self {
            host,
            own_connection: own,
            other_connection: other,
            clients,
            unrecognised,
            _tracker: tracker,
        }
    }

    /// Replaces the placeholders in the path of a route, where possible by ids that belong to this
    /// connection.
    fn fill_path(&self, path: &str, connection: &Connection) -> String {
        let id = if path.contains("/events/") || path.contains("/defects/") {
            let answer = self.host.create(connection, &failed_test());
            let event = self.host.event_of(&answer);
            let kind = if path.contains("/events/") { "id" } else { "defect" };
            event[kind].as_str().expect("an id").to_owned()
        } else if path.contains("/unrecognised/") {
            self.unrecognised[&connection.id].clone()
        } else if path.contains("/accounts/") {
            let tokens = self.host.admin().get("/tokens").expect(200);
            tokens["tokens"][0]["id"].as_str().expect("an id").to_owned()
        } else if path.contains("/tokens/") {
            "nobody".to_owned()
        } else {
            connection.id.clone()
        };
        path.replace("{id}", &id)
            .replace("{decision}", "retry")
            .replace("{kind}", "create-defect")
            .replace("{sha256}", "0123")
            .replace("{name}", "good")
            .replace("{*path}", "nothing")
    }

    /// Sends a request as this account. No route accepts the body of the request, so only a route
    /// that ignores the body, such as a deletion, changes something.
    fn send(&self, account: &str, method: &str, path: &str) -> Answer {
        let method = if method == "ANY" { "POST" } else { method };
        let headers = [("content-type", "application/json")];
        self.clients[account].send(method, path, &headers, b"{\"no-such-member\":1}")
    }
}

fn create_token(host: &TestHost, body: &Value) -> String {
    let created = host.admin().json("POST", "/tokens", body).expect(201);
    created["token"].as_str().expect("a token").to_owned()
}

/// Whether an answer shows that the account may use the route.
fn is_allowed(answer: &Answer) -> bool {
    if answer.status == 403 {
        answer.assert_problem(403, "role-too-low");
    }
    ![401, 403, 404].contains(&answer.status) || answer.header("jackfield-event").is_some()
}

#[test]
fn each_role_may_use_exactly_its_routes() {
    let server = ServerWithAccounts::start();
    for ((method, path), (roles, limited)) in parse_table() {
        // A DELETE by id and a sign-out always take effect, so this test leaves them out.
        let is_deletion = method == "DELETE" && path.ends_with("{id}");
        if is_deletion || path == "/sign-out" {
            continue;
        }
        for (account, expected) in ["none"].iter().chain(&ROLES).zip(&roles) {
            let target = server.fill_path(&path, &server.own_connection);
            let answer = server.send(account, &method, &target);
            // Without an account, a page redirects to the sign-in page.
            let is_page = !path.starts_with("/api/") && path != "/metrics";
            let status_without_account = if is_page { 303 } else { 401 };
            let refusal = if *account == "none" { status_without_account } else { 403 };
            let is_expected = match *expected {
                "yes" => is_allowed(&answer),
                _ => answer.status == refusal,
            };
            assert!(is_expected, "{account} {method} {path}: expected {expected}, got {answer:?}");
        }
        let own = server.send("limited", &method, &server.fill_path(&path, &server.own_connection));
        let other =
            server.send("limited", &method, &server.fill_path(&path, &server.other_connection));
        let is_expected = match limited {
            "own" => is_allowed(&own) && other.status == 404,
            "list" => is_allowed(&own) && !own.body.contains(&server.other_connection.id),
            "yes" => is_allowed(&own),
            _ => own.status == 403,
        };
        assert!(
            is_expected,
            "limited {method} {path}: expected {limited}, got {own:?} and {other:?}"
        );
    }
}

#[test]
fn deletions_need_a_role_and_access_to_the_connection() {
    let server = ServerWithAccounts::start();
    let delete = |account: &str, path: &str| server.send(account, "DELETE", path).status;
    let (own, other) = (
        format!("/api/v1/connections/{}", server.own_connection.id),
        format!("/api/v1/connections/{}", server.other_connection.id),
    );
    assert_eq!(delete("none", &own), 401);
    for account in ["viewer", "operator", "author"] {
        assert_eq!(
            (delete(account, &own), delete(account, "/api/v1/tokens/the%20viewer")),
            (403, 403),
            "{account}"
        );
    }
    assert_eq!((delete("limited", &other), delete("limited", &own)), (404, 204));
    assert_eq!(delete("limited", "/api/v1/tokens/the%20viewer"), 403);
    assert_eq!(delete("admin", &other), 204);
    assert_eq!(delete("admin", "/api/v1/tokens/the%20viewer"), 204);
    assert_eq!(server.send("viewer", "GET", "/api/v1/status").status, 401, "the token was revoked");
}
