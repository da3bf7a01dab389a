//! Real reverse proxies run with the configurations in docs/operator.md. The tests check the
//! client's address, the scheme, the path prefix, and slow and large answers.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use jackfield_tests::{
    Connection, Reply, ScriptedServer, Setup, TestHost, binary, failed_test, root, wait_for,
};
use serde_json::{Value, json};

use crate::console::run_script;
use crate::tls::Authority;

/// The address from which the tests send requests. No trusted proxy has this address.
const CLIENT_ADDRESS: &str = "127.0.0.9";

#[track_caller]
fn code_block(language: &str, containing: &str) -> String {
    let text = fs::read_to_string(root().join("docs/operator.md")).expect("docs/operator.md");
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
    let mut matching_blocks = blocks.filter(|code_block| code_block.contains(containing));
    matching_blocks
        .next()
        .unwrap_or_else(|| panic!("no {language} block contains {containing}"))
        .to_owned()
}

#[track_caller]
fn replace_all(mut text: String, replacements: &[(&str, &str)]) -> String {
    for (from, to) in replacements {
        assert!(text.contains(from), "{from} is not in:\n{text}");
        text = text.replace(from, to);
    }
    text
}

fn find_free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Gets SIGTERM when it is dropped. After SIGKILL, nginx would not end its workers.
struct RunningProcess(Child);

struct Proxy {
    _process: RunningProcess,
    port: u16,
    /// The authority that issued the proxy's certificate.
    authority: Authority,
    /// Contains the proxy's configuration and its log.
    folder: tempfile::TempDir,
}

/// What a proxy needs before it starts: a folder, a certificate and a port.
type ProxyParts = (tempfile::TempDir, Authority, u16);

fn prepare_proxy() -> ProxyParts {
    let authority = Authority::new();
    authority.issue("proxy", "subjectAltName = DNS:localhost, DNS:jackfield.example.com");
    let pem = ["proxy.pem", "proxy.key"]
        .map(|name| fs::read_to_string(authority.file(name)).expect("a PEM file"));
    fs::write(authority.file("both.pem"), pem.concat()).expect("a new file");
    (tempfile::tempdir().expect("a folder"), authority, find_free_port())
}

impl Proxy {
    #[track_caller]
    fn start((folder, authority, port): ProxyParts, command: &mut Command) -> Self {
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let process = RunningProcess(command.stderr(log).spawn().expect("the proxy starts"));
        let proxy = Self { _process: process, port, authority, folder };
        wait_for("the proxy to listen", 20, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        proxy
    }

    /// Sends a request from `CLIENT_ADDRESS`. Returns the status, and the whole answer as a text.
    #[track_caller]
    fn send(&self, path: &str, arguments: &[&str]) -> (u16, String) {
        let mut command = Command::new("curl");
        let target = format!("jackfield.example.com:{}:127.0.0.1", self.port);
        let url = format!("https://jackfield.example.com:{}{path}", self.port);
        command.args(["--silent", "--show-error", "--include", "--max-time", "60"]);
        command.args(["--cacert", &self.authority.file("ca.pem"), "--interface", CLIENT_ADDRESS]);
        // An attacker would send these headers to forge the address and the scheme.
        command.args(["-H", "X-Forwarded-For: 198.51.100.1", "-H", "Forwarded: for=198.51.100.1"]);
        command.args(["-H", "X-Forwarded-Proto: http"]);
        command.args(["--resolve", &target, &url]).args(arguments);
        let output = command.output().expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{output:?}\n{log}"));
        (status, text)
    }
}

impl Drop for RunningProcess {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

struct ServerBehindProxy {
    host: TestHost,
    /// The tracker of `open_connection`.
    tracker: ScriptedServer,
    /// A connection that accepts every client.
    open_connection: Connection,
    /// A connection that refuses the client's address.
    closed_connection: Connection,
}

/// If `config` is empty, the server gets the documented configuration.
fn start_server(config: &str) -> ServerBehindProxy {
    let documented = code_block("toml", "public_url = \"https://jackfield.example.com/jackfield\"");
    // An argument of the command line sets the test's own port.
    let documented = replace_all(documented, &[("listen = \"127.0.0.1:8080\"\n", "")]);
    let config = if config.is_empty() { documented } else { config.to_owned() };
    let host = Setup::new().config(&config).guests(["instant", "good"]).start();
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let open_connection =
        host.add_connection("qa", "good", json!({"url": tracker.url()}), json!({}));
    let body = json!({"name": "closed", "connector": "instant",
        "webhook_auth": {"allowed_clients": ["192.0.2.1"]}});
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    let closed_connection = Connection::from_json(&created);
    ServerBehindProxy { host, tracker, open_connection, closed_connection }
}

/// Checks that the server sees the client's address and https, and that a slow create is answered.
#[track_caller]
fn check_webhooks(server: &ServerBehindProxy, proxy: &Proxy, prefix: &str) {
    let at = |path: &str| format!("{prefix}{path}");
    // The refusal names the client's address, and the header shows that the client used https.
    let (status, printed) = proxy.send(&at(&server.closed_connection.webhook_path), &[]);
    assert_eq!(status, 403, "{printed}");
    assert!(printed.contains(&format!("from the address {CLIENT_ADDRESS}\"")), "{printed}");
    assert!(printed.to_lowercase().contains("strict-transport-security"), "{printed}");
    let gate = server.tracker.hold_requests(|_| true);
    let body = failed_test().to_string();
    let create = ["-H", "content-type: application/json", "-d", &body];
    let path = at(&server.open_connection.create_path());
    std::thread::scope(|scope| {
        let click = scope.spawn(|| proxy.send(&path, &create));
        gate.await_held(1);
        std::thread::sleep(std::time::Duration::from_secs(6));
        gate.open();
        let (status, printed) = click.join().expect("an answer");
        assert_eq!(status, 200, "{printed}");
        assert!(printed.contains("jackfield-event"), "{printed}");
    });
}

#[track_caller]
fn check_large_answer(server: &ServerBehindProxy, proxy: &Proxy, prefix: &str) {
    let client = server.host.anonymous();
    let long = format!("{}/{}", server.open_connection.webhook_path, "p".repeat(900));
    for _ in 0..100 {
        client.send("PUT", &long, &[], b"x").assert_problem(404, "not-found");
    }
    let _ =
        server.host.event_of(&client.send("GET", &server.open_connection.webhook_path, &[], b""));
    let direct = server.host.admin().get("/events?limit=200").body;
    let bearer = format!("authorization: Bearer {}", server.host.admin_token());
    let path = format!("{prefix}/api/v1/events?limit=200");
    let (status, printed) = proxy.send(&path, &["-H", &bearer]);
    assert_eq!(status, 200, "{printed}");
    assert!(direct.len() > 20_000, "{}", direct.len());
    let body = printed.split("\r\n\r\n").last().unwrap_or_default();
    let events = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["events"].clone();
    assert_eq!(events(body), events(&direct));
}

/// `more` contains further replacements in the documented configuration.
#[track_caller]
fn start_nginx(
    server: &ServerBehindProxy,
    proxy_parts: ProxyParts,
    more: &[(&str, &str)],
) -> Proxy {
    let (folder, authority, port) = &proxy_parts;
    let server_block = replace_all(
        code_block("nginx", "proxy_pass http"),
        &[
            ("listen 443", &format!("listen 127.0.0.1:{port}")),
            ("/etc/nginx/jackfield.pem", &authority.file("proxy.pem")),
            ("/etc/nginx/jackfield.key", &authority.file("proxy.key")),
            ("http://127.0.0.1:8080", server.host.url()),
        ],
    );
    let server_block = replace_all(server_block, more);
    let own = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {};\n", folder.path().join(name).display()));
    let config = format!(
        "daemon off;\npid {pid};\nevents {{}}\nhttp {{\naccess_log off;\n{own}{server_block}}}\n",
        pid = folder.path().join("pid").display(),
        own = own.concat(),
    );
    let path = write_file(folder.path(), "nginx.conf", &config);
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c", &path]);
    Proxy::start(proxy_parts, &mut command)
}

/// Checks that the console works below the path of the proxy, also if the proxy does not remove the
/// path from requests.
#[track_caller]
fn check_console(server: &ServerBehindProxy, proxy: &Proxy) {
    let url = format!("https://localhost:{}/jackfield", proxy.port);
    let variables = [("JACKFIELD_URL", url.as_str()), ("OWN_AUTHORITY", "1")];
    let token = server.host.admin_token();
    run_script("administration.py", &server.host, "below_a_path", token, &variables);
    let direct = server.host.anonymous();
    let kept = direct.get("/jackfield/sign-in");
    kept.assert_status(200);
    assert!(kept.body.contains("action=\"/jackfield/sign-in\""), "{kept:?}");
    let page = direct.get("/jackfield/");
    assert_eq!(page.header("location"), Some("/jackfield/sign-in?next=%2F"), "{page:?}");
    let problem = direct.get("/jackfield/api/v1/status").json();
    assert_eq!(problem["type"], "/jackfield/problems/unauthorized", "{problem}");
    assert_eq!(direct.get("/jackfieldx/sign-in").status, 404);
}

#[track_caller]
fn start_caddy(
    server: &ServerBehindProxy,
    proxy_parts: ProxyParts,
    more: &[(&str, &str)],
) -> Proxy {
    let (folder, authority, port) = &proxy_parts;
    let site = replace_all(
        code_block("caddyfile", "reverse_proxy 127"),
        &[
            (
                "jackfield.example.com {",
                &format!("https://jackfield.example.com:{port} {{\nbind 127.0.0.1"),
            ),
            ("/etc/caddy/jackfield.pem", &authority.file("proxy.pem")),
            ("/etc/caddy/jackfield.key", &authority.file("proxy.key")),
            ("127.0.0.1:8080", server.host.url().trim_start_matches("http://")),
        ],
    );
    let site = replace_all(site, more);
    let config = format!("{{\nadmin off\nauto_https disable_redirects\n}}\n{site}");
    let path = write_file(folder.path(), "Caddyfile", &config);
    let mut command = Command::new("caddy");
    let home = folder.path();
    command.args(["run", "--adapter", "caddyfile", "--config", &path]);
    command.env("HOME", home).env("XDG_DATA_HOME", home).env("XDG_CONFIG_HOME", home);
    Proxy::start(proxy_parts, &mut command)
}

#[track_caller]
fn start_haproxy(
    server: &ServerBehindProxy,
    proxy_parts: ProxyParts,
    more: &[(&str, &str)],
) -> Proxy {
    let (folder, authority, port) = &proxy_parts;
    let config = replace_all(
        code_block("haproxy", "mode http"),
        &[
            ("bind :443", &format!("bind 127.0.0.1:{port}")),
            ("/etc/haproxy/jackfield.pem", &authority.file("both.pem")),
            ("127.0.0.1:8080", server.host.url().trim_start_matches("http://")),
        ],
    );
    let config = replace_all(config, more);
    let path = write_file(folder.path(), "haproxy.cfg", &config);
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f", &path]);
    Proxy::start(proxy_parts, &mut command)
}

#[test]
fn nginx_works_with_the_documented_configuration() {
    let server = start_server("");
    let proxy = start_nginx(&server, prepare_proxy(), &[]);
    check_webhooks(&server, &proxy, "/jackfield");
    check_large_answer(&server, &proxy, "/jackfield");
    check_console(&server, &proxy);
}

#[test]
fn caddy_works_with_the_documented_configuration() {
    let server = start_server("");
    let proxy = start_caddy(&server, prepare_proxy(), &[]);
    check_webhooks(&server, &proxy, "/jackfield");
    check_large_answer(&server, &proxy, "/jackfield");
}

#[test]
fn haproxy_works_with_the_documented_configuration() {
    let server = start_server("");
    let proxy = start_haproxy(&server, prepare_proxy(), &[]);
    check_webhooks(&server, &proxy, "/jackfield");
    check_large_answer(&server, &proxy, "/jackfield");
}

/// Checks that a person signs in at the proxy with a password, and that forged headers have no
/// effect.
#[track_caller]
fn check_sign_in(server: &ServerBehindProxy, proxy: &Proxy) {
    let forged = ["X-Remote-User: eve", "X-Remote-Role: admin", "X-Jackfield-Proxy-Secret: guess"];
    let forged = forged.into_iter().flat_map(|header| ["-H", header]);
    let arguments: Vec<&str> = ["-u", "ann:pass-of-ann"].into_iter().chain(forged).collect();
    let (status, printed) = proxy.send("/jackfield/api/v1/account", &arguments);
    assert_eq!(status, 200, "{printed}");
    assert!(printed.contains("proxy:ann") && printed.contains("operator"), "{printed}");
    let without_proxy = [("x-forwarded-for", "203.0.113.5"), ("x-remote-user", "eve")];
    let refused = server.host.anonymous().send("GET", "/api/v1/account", &without_proxy, b"");
    refused.assert_problem(401, "unauthorized");
}

#[test]
fn each_proxy_signs_people_in_with_the_documented_configuration() {
    const SECRET: &str = "0123456789abcdef-secret-of-the-proxy";
    let secrets = tempfile::tempdir().expect("a folder");
    fs::write(secrets.path().join("proxy"), SECRET).expect("the secret is written");
    let sign_in_config = replace_all(
        code_block("toml", "proxy_user_header"),
        &[("/etc/jackfield/secrets", &secrets.path().display().to_string())],
    );
    let server = start_server(&format!(
        "public_url = \"https://jackfield.example.com/jackfield\"\n{sign_in_config}"
    ));
    let secret_lines = |language| {
        let secret_lines = code_block(language, "X-Jackfield-Proxy-Secret");
        replace_all(secret_lines, &[("the-content-of-the-file-of-proxy_secret", SECRET)])
    };

    let proxy_parts = prepare_proxy();
    let home = proxy_parts.0.path().to_owned();
    let users = write_file(&home, "users", "ann:{PLAIN}pass-of-ann\n");
    let sign_in =
        format!("auth_basic x;\nauth_basic_user_file {users};\n{}", secret_lines("nginx"));
    let proxy = start_nginx(&server, proxy_parts, &[("proxy_read_timeout 120s;", &sign_in)]);
    check_sign_in(&server, &proxy);

    let output =
        Command::new("caddy").args(["hash-password", "--plaintext", "pass-of-ann"]).output();
    let hash = String::from_utf8(output.expect("caddy runs").stdout).expect("a hash");
    let login_block = format!("basicauth {{\nann {}\n}}\nreverse_proxy ", hash.trim());
    let header_lines = format!("header_up -Forwarded\n{}", secret_lines("caddyfile"));
    let replacements =
        [("reverse_proxy ", login_block.as_str()), ("header_up -Forwarded", &header_lines)];
    check_sign_in(&server, &start_caddy(&server, prepare_proxy(), &replacements));

    let sign_in = format!(
        "    http-request auth unless {{ http_auth(people) }}\n{}    server jackfield ",
        secret_lines("haproxy")
    );
    let users = "userlist people\n    user ann insecure-password pass-of-ann\n\nfrontend https\n";
    let replacements = [("frontend https\n", users), ("    server jackfield ", &sign_in)];
    check_sign_in(&server, &start_haproxy(&server, prepare_proxy(), &replacements));
}

#[test]
fn haproxy_forwards_bytes_and_names_the_client_by_the_proxy_protocol() {
    let proxy_parts = prepare_proxy();
    let (folder, authority, port) = &proxy_parts;
    let home = jackfield_tests::empty_home();
    let config = format!(
        "public_url = \"https://jackfield.example.com\"\ntrusted_proxies = [\"127.0.0.1\"]\n\
         proxy_protocol = true\ntls_certificate = {:?}\ntls_key = {:?}\n",
        authority.file("proxy.pem"),
        authority.file("proxy.key")
    );
    fs::write(home.path().join("jackfield.toml"), config).expect("the configuration is written");
    let own_port = find_free_port();
    let address = format!("127.0.0.1:{own_port}");
    let mut serve = Command::new(binary());
    serve.args(["serve", "--listen", &address]).current_dir(home.path());
    let server = RunningProcess(serve.stdout(Stdio::null()).spawn().expect("the server starts"));
    let config = replace_all(
        code_block("haproxy", "send-proxy-v2"),
        &[("bind :443", &format!("bind 127.0.0.1:{port}")), ("127.0.0.1:8080", &address)],
    );
    let path = write_file(folder.path(), "haproxy.cfg", &config);
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f", &path]);
    let proxy = Proxy::start(proxy_parts, &mut command);
    wait_for("the server to listen", 60, || std::net::TcpStream::connect(&address).ok());
    // Failed logins use up the limit of one client. A second client has a limit of its own.
    let login = |client: &str| {
        let guess = ["-H", "authorization: Bearer wrong", "--interface", client];
        proxy.send("/api/v1/status", &guess).0
    };
    let statuses: Vec<_> = (0..22).map(|_| login(CLIENT_ADDRESS)).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(login("127.0.0.10"), 401);
    drop((proxy, server));
}

fn write_file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("the configuration is written");
    path.display().to_string()
}
