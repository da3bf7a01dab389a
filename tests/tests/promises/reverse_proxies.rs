//! The configurations of reverse proxies in docs/operator.md, cut out of it and run by the real
//! proxies: the client's address, the scheme, the path prefix, slow and large answers.

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

/// The address of the client. It is not a trusted proxy.
const CLIENT: &str = "127.0.0.9";

/// The code block of docs/operator.md in this language that contains a text.
#[track_caller]
fn block(language: &str, containing: &str) -> String {
    let text = fs::read_to_string(root().join("docs/operator.md")).expect("docs/operator.md");
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
    let mut found = blocks.filter(|block| block.contains(containing));
    found.next().unwrap_or_else(|| panic!("no {language} with {containing}")).to_owned()
}

/// Replaces what a test must: each text must be there.
#[track_caller]
fn with(mut text: String, replacements: &[(&str, &str)]) -> String {
    for (from, to) in replacements {
        assert!(text.contains(from), "{from} is not in:\n{text}");
        text = text.replace(from, to);
    }
    text
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A program that is ended by SIGTERM when it is dropped, so that nginx ends its workers.
struct Running(Child);

/// A running proxy in front of a server.
struct Proxy {
    _process: Running,
    port: u16,
    authority: Authority,
    folder: tempfile::TempDir,
}

/// A folder and a certificate for a proxy, and its port.
type Parts = (tempfile::TempDir, Authority, u16);

fn prepare() -> Parts {
    let authority = Authority::new();
    authority.issue("proxy", "subjectAltName = DNS:localhost, DNS:jackfield.example.com");
    let pem = ["proxy.pem", "proxy.key"]
        .map(|name| fs::read_to_string(authority.file(name)).expect("a PEM file"));
    fs::write(authority.file("both.pem"), pem.concat()).expect("a new file");
    (tempfile::tempdir().expect("a folder"), authority, free_port())
}

impl Proxy {
    #[track_caller]
    fn start((folder, authority, port): Parts, command: &mut Command) -> Self {
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let process = Running(command.stderr(log).spawn().expect("the proxy starts"));
        let proxy = Self { _process: process, port, authority, folder };
        wait_for("the proxy to listen", 20, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        proxy
    }

    /// Sends a request as the client does; returns the status, the headers and the body.
    #[track_caller]
    fn send(&self, path: &str, arguments: &[&str]) -> (u16, String) {
        let mut command = Command::new("curl");
        let target = format!("jackfield.example.com:{}:127.0.0.1", self.port);
        let url = format!("https://jackfield.example.com:{}{path}", self.port);
        command.args(["--silent", "--show-error", "--include", "--max-time", "60"]);
        command.args(["--cacert", &self.authority.file("ca.pem"), "--interface", CLIENT]);
        // What an attacker would send.
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

impl Drop for Running {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// A server as the document configures it, below a path of the proxy.
struct Front {
    host: TestHost,
    tracker: ScriptedServer,
    open: Connection,
    closed: Connection,
}

fn front(config: &str) -> Front {
    let shared = block("toml", "public_url = \"https://jackfield.example.com/jackfield\"");
    // The test's own port is given by an argument.
    let shared = with(shared, &[("listen = \"127.0.0.1:8080\"\n", "")]);
    let shared = if config.is_empty() { shared } else { config.to_owned() };
    let host = Setup::new().config(&shared).guests(["instant", "good"]).start();
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let open = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    let body = json!({"name": "closed", "connector": "instant",
        "webhook_auth": {"allowed_clients": ["192.0.2.1"]}});
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    Front { host, tracker, open, closed: Connection::from_json(&created) }
}

/// What must work through each proxy, with this path prefix.
#[track_caller]
fn check(front: &Front, proxy: &Proxy, prefix: &str) {
    let at = |path: &str| format!("{prefix}{path}");
    // The client's address, and that it used https.
    let (status, printed) = proxy.send(&at(&front.closed.webhook_path), &[]);
    assert_eq!(status, 403, "{printed}");
    assert!(printed.contains(&format!("from the address {CLIENT}\"")), "{printed}");
    assert!(printed.to_lowercase().contains("strict-transport-security"), "{printed}");
    // A create whose tracker takes its time.
    let gate = front.tracker.hold_requests(|_| true);
    let body = failed_test().to_string();
    let create = ["-H", "content-type: application/json", "-d", &body];
    let path = at(&front.open.create_path());
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

/// A large answer of the admin API arrives completely.
#[track_caller]
fn check_large(front: &Front, proxy: &Proxy, prefix: &str) {
    let client = front.host.anonymous();
    let long = format!("{}/{}", front.open.webhook_path, "p".repeat(900));
    for _ in 0..100 {
        client.send("PUT", &long, &[], b"x").assert_problem(404, "not-found");
    }
    let _ = front.host.event_of(&client.send("GET", &front.open.webhook_path, &[], b""));
    let direct = front.host.admin().get("/events?limit=200").body;
    let bearer = format!("authorization: Bearer {}", front.host.admin_token());
    let path = format!("{prefix}/api/v1/events?limit=200");
    let (status, printed) = proxy.send(&path, &["-H", &bearer]);
    assert_eq!(status, 200, "{printed}");
    assert!(direct.len() > 20_000, "{}", direct.len());
    let body = printed.split("\r\n\r\n").last().unwrap_or_default();
    let events = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["events"].clone();
    assert_eq!(events(body), events(&direct));
}

/// Starts nginx as the document configures it, with further replacements in its configuration.
#[track_caller]
fn nginx(front: &Front, parts: Parts, more: &[(&str, &str)]) -> Proxy {
    let (folder, authority, port) = &parts;
    let server = with(
        block("nginx", "proxy_pass http"),
        &[
            ("listen 443", &format!("listen 127.0.0.1:{port}")),
            ("/etc/nginx/jackfield.pem", &authority.file("proxy.pem")),
            ("/etc/nginx/jackfield.key", &authority.file("proxy.key")),
            ("http://127.0.0.1:8080", front.host.url()),
        ],
    );
    let server = with(server, more);
    let own = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {};\n", folder.path().join(name).display()));
    let config = format!(
        "daemon off;\npid {pid};\nevents {{}}\nhttp {{\naccess_log off;\n{own}{server}}}\n",
        pid = folder.path().join("pid").display(),
        own = own.concat(),
    );
    let path = write(folder.path(), "nginx.conf", &config);
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c", &path]);
    Proxy::start(parts, &mut command)
}

/// The console works below the path of the proxy, and a proxy may keep the path.
#[track_caller]
fn check_console(front: &Front, proxy: &Proxy) {
    let url = format!("https://localhost:{}/jackfield", proxy.port);
    let variables = [("JACKFIELD_URL", url.as_str()), ("OWN_AUTHORITY", "1")];
    let token = front.host.admin_token();
    run_script("administration.py", &front.host, "below_a_path", token, &variables);
    let direct = front.host.anonymous();
    let kept = direct.get("/jackfield/sign-in");
    kept.assert_status(200);
    assert!(kept.body.contains("action=\"/jackfield/sign-in\""), "{kept:?}");
    let page = direct.get("/jackfield/");
    assert_eq!(page.header("location"), Some("/jackfield/sign-in?next=%2F"), "{page:?}");
    let problem = direct.get("/jackfield/api/v1/status").json();
    assert_eq!(problem["type"], "/jackfield/problems/unauthorized", "{problem}");
    assert_eq!(direct.get("/jackfieldx/sign-in").status, 404);
}

/// The same with Caddy.
#[track_caller]
fn caddy(front: &Front, parts: Parts, more: &[(&str, &str)]) -> Proxy {
    let (folder, authority, port) = &parts;
    let site = with(
        block("caddyfile", "reverse_proxy 127"),
        &[
            (
                "jackfield.example.com {",
                &format!("https://jackfield.example.com:{port} {{\nbind 127.0.0.1"),
            ),
            ("/etc/caddy/jackfield.pem", &authority.file("proxy.pem")),
            ("/etc/caddy/jackfield.key", &authority.file("proxy.key")),
            ("127.0.0.1:8080", front.host.url().trim_start_matches("http://")),
        ],
    );
    let site = with(site, more);
    let config = format!("{{\nadmin off\nauto_https disable_redirects\n}}\n{site}");
    let path = write(folder.path(), "Caddyfile", &config);
    let mut command = Command::new("caddy");
    let home = folder.path();
    command.args(["run", "--adapter", "caddyfile", "--config", &path]);
    command.env("HOME", home).env("XDG_DATA_HOME", home).env("XDG_CONFIG_HOME", home);
    Proxy::start(parts, &mut command)
}

/// The same with HAProxy.
#[track_caller]
fn haproxy(front: &Front, parts: Parts, more: &[(&str, &str)]) -> Proxy {
    let (folder, authority, port) = &parts;
    let config = with(
        block("haproxy", "mode http"),
        &[
            ("bind :443", &format!("bind 127.0.0.1:{port}")),
            ("/etc/haproxy/jackfield.pem", &authority.file("both.pem")),
            ("127.0.0.1:8080", front.host.url().trim_start_matches("http://")),
        ],
    );
    let config = with(config, more);
    let path = write(folder.path(), "haproxy.cfg", &config);
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f", &path]);
    Proxy::start(parts, &mut command)
}

#[test]
fn nginx_as_the_document_configures_it() {
    let front = front("");
    let proxy = nginx(&front, prepare(), &[]);
    check(&front, &proxy, "/jackfield");
    check_large(&front, &proxy, "/jackfield");
    check_console(&front, &proxy);
}

#[test]
fn caddy_as_the_document_configures_it() {
    let front = front("");
    let proxy = caddy(&front, prepare(), &[]);
    check(&front, &proxy, "/jackfield");
    check_large(&front, &proxy, "/jackfield");
}

#[test]
fn haproxy_as_the_document_configures_it() {
    let front = front("");
    let proxy = haproxy(&front, prepare(), &[]);
    check(&front, &proxy, "/jackfield");
    check_large(&front, &proxy, "/jackfield");
}

/// Signs in by password at the proxy, and sends what an attacker would send.
#[track_caller]
fn check_sign_in(front: &Front, proxy: &Proxy) {
    let forged = ["X-Remote-User: eve", "X-Remote-Role: admin", "X-Jackfield-Proxy-Secret: guess"];
    let forged = forged.into_iter().flat_map(|header| ["-H", header]);
    let arguments: Vec<&str> = ["-u", "ann:pass-of-ann"].into_iter().chain(forged).collect();
    let (status, printed) = proxy.send("/jackfield/api/v1/account", &arguments);
    assert_eq!(status, 200, "{printed}");
    assert!(printed.contains("proxy:ann") && printed.contains("operator"), "{printed}");
    let without_proxy = [("x-forwarded-for", "203.0.113.5"), ("x-remote-user", "eve")];
    let refused = front.host.anonymous().send("GET", "/api/v1/account", &without_proxy, b"");
    refused.assert_problem(401, "unauthorized");
}

#[test]
fn the_proxies_sign_people_in_as_the_document_configures_them() {
    const SECRET: &str = "0123456789abcdef-secret-of-the-proxy";
    let secrets = tempfile::tempdir().expect("a folder");
    fs::write(secrets.path().join("proxy"), SECRET).expect("the secret is written");
    let own = with(
        block("toml", "proxy_user_header"),
        &[("/etc/jackfield/secrets", &secrets.path().display().to_string())],
    );
    let front = front(&format!("public_url = \"https://jackfield.example.com/jackfield\"\n{own}"));
    let lines = |language| {
        let lines = block(language, "X-Jackfield-Proxy-Secret");
        with(lines, &[("the-content-of-the-file-of-proxy_secret", SECRET)])
    };

    let parts = prepare();
    let home = parts.0.path().to_owned();
    let users = write(&home, "users", "ann:{PLAIN}pass-of-ann\n");
    let sign_in = format!("auth_basic x;\nauth_basic_user_file {users};\n{}", lines("nginx"));
    let proxy = nginx(&front, parts, &[("proxy_read_timeout 120s;", &sign_in)]);
    check_sign_in(&front, &proxy);

    let output =
        Command::new("caddy").args(["hash-password", "--plaintext", "pass-of-ann"]).output();
    let hash = String::from_utf8(output.expect("caddy runs").stdout).expect("a hash");
    let before = format!("basicauth {{\nann {}\n}}\nreverse_proxy ", hash.trim());
    let within = format!("header_up -Forwarded\n{}", lines("caddyfile"));
    let more = [("reverse_proxy ", before.as_str()), ("header_up -Forwarded", &within)];
    check_sign_in(&front, &caddy(&front, prepare(), &more));

    let sign_in = format!(
        "    http-request auth unless {{ http_auth(people) }}\n{}    server jackfield ",
        lines("haproxy")
    );
    let users = "userlist people\n    user ann insecure-password pass-of-ann\n\nfrontend https\n";
    let more = [("frontend https\n", users), ("    server jackfield ", &sign_in)];
    check_sign_in(&front, &haproxy(&front, prepare(), &more));
}

#[test]
fn haproxy_passes_bytes_on_and_names_the_client_by_the_proxy_protocol() {
    let parts = prepare();
    let (folder, authority, port) = &parts;
    let home = jackfield_tests::empty_home();
    let config = format!(
        "public_url = \"https://jackfield.example.com\"\ntrusted_proxies = [\"127.0.0.1\"]\n\
         proxy_protocol = true\ntls_certificate = {:?}\ntls_key = {:?}\n",
        authority.file("proxy.pem"),
        authority.file("proxy.key")
    );
    fs::write(home.path().join("jackfield.toml"), config).expect("the configuration is written");
    let own_port = free_port();
    let address = format!("127.0.0.1:{own_port}");
    let mut serve = Command::new(binary());
    serve.args(["serve", "--listen", &address]).current_dir(home.path());
    let server = Running(serve.stdout(Stdio::null()).spawn().expect("the server starts"));
    let config = with(
        block("haproxy", "send-proxy-v2"),
        &[("bind :443", &format!("bind 127.0.0.1:{port}")), ("127.0.0.1:8080", &address)],
    );
    let path = write(folder.path(), "haproxy.cfg", &config);
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f", &path]);
    let proxy = Proxy::start(parts, &mut command);
    wait_for("the server to listen", 60, || std::net::TcpStream::connect(&address).ok());
    // Twenty failed logins use up the ration of one client; another client still has its own.
    let login = |client: &str| {
        let guess = ["-H", "authorization: Bearer wrong", "--interface", client];
        proxy.send("/api/v1/status", &guess).0
    };
    let statuses: Vec<_> = (0..22).map(|_| login(CLIENT)).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(login("127.0.0.10"), 401);
    drop((proxy, server));
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("the configuration is written");
    path.display().to_string()
}
