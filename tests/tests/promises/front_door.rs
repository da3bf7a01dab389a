//! The listeners of the server: TLS, HTTP/2, a Unix socket, sockets and notifications of systemd,
//! and the PROXY protocol.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jackfield_tests::{Connection, Setup, TestHost, binary, empty_home, failed_test, wait_for};
use serde_json::json;

use crate::tls::Authority;

const ADMIN_TOKEN: &str = "test-admin-token-0123456789abcdef";

/// A server that is started without `Setup`, because it listens on a Unix socket or uses TLS or the
/// PROXY protocol.
struct ServerProcess {
    process: Child,
    /// The folder with `data`, `plugins` and `jackfield.toml`.
    home: tempfile::TempDir,
    /// The address that the server printed after `listening on `.
    address: String,
}

impl ServerProcess {
    #[track_caller]
    fn start(listen: &str, config: &str) -> Self {
        let home = empty_home();
        fs::write(home.path().join("jackfield.toml"), config)
            .expect("the configuration is written");
        let (process, address) = spawn_server(home.path(), listen);
        Self { process, home, address }
    }

    fn restart(&mut self, listen: &str) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        (self.process, self.address) = spawn_server(self.home.path(), listen);
    }

    /// Returns whether the command succeeded, and what it printed.
    fn run_cli(&self, url: &str, authority: &str, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(binary());
        command.args(arguments).env("JACKFIELD_URL", url).env("SSL_CERT_FILE", authority);
        command.env("JACKFIELD_ADMIN_TOKEN", ADMIN_TOKEN).current_dir(self.home.path());
        let output = command.output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[track_caller]
fn spawn_server(home: &Path, listen: &str) -> (Child, String) {
    let mut command = Command::new(binary());
    command.args(["serve", "--listen", listen]).current_dir(home);
    command.env("JACKFIELD_ADMIN_TOKEN", ADMIN_TOKEN).stdout(Stdio::piped());
    let mut process = command.spawn().expect("the server starts");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    let first = lines.next().and_then(Result::ok).unwrap_or_default();
    let address = first.strip_prefix("listening on ").expect("an address").to_owned();
    (process, address)
}

/// Returns whether curl succeeded, and what it printed.
fn run_curl(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "20"]).args(arguments);
    let output = command.output().expect("curl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

fn certificate_serial(address: &str) -> String {
    let script = format!(
        "openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    );
    let output = Command::new("sh").args(["-c", &script]).output().expect("openssl runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_listener_serves_https_and_loads_a_changed_certificate() {
    let authority = Authority::new();
    let name = "subjectAltName = DNS:localhost, IP:127.0.0.1";
    authority.issue("one", name);
    authority.issue("two", name);
    let path = |file: &str| authority.file(file);
    for (from, to) in [("one.pem", "live.pem"), ("one.key", "live.key")] {
        fs::copy(path(from), path(to)).expect("a copy");
    }
    let config =
        format!("tls_certificate = {:?}\ntls_key = {:?}", path("live.pem"), path("live.key"));
    let server = ServerProcess::start("127.0.0.1:0", &config);
    let address = server.address.strip_prefix("https://").expect("https").to_owned();
    let url = format!("https://{address}/healthz");
    let authority_file = path("ca.pem");
    for (version, first) in [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200")] {
        let (succeeded, printed) = run_curl(&[version, "--cacert", &authority_file, &url]);
        assert!(succeeded && printed.starts_with(first), "{printed}");
        assert!(
            printed.to_lowercase().contains("strict-transport-security: max-age="),
            "{printed}"
        );
    }
    assert!(!run_curl(&[&url]).0, "curl accepted the certificate of an unknown authority");
    assert!(
        !run_curl(&[&format!("http://{address}/healthz")]).0,
        "the listener answered plain HTTP"
    );
    let (succeeded, printed) =
        server.run_cli(&format!("https://{address}"), &authority_file, &["connections", "list"]);
    assert!(succeeded, "{printed}");

    let first = certificate_serial(&address);
    assert!(first.starts_with("serial="), "{first}");
    // The server does not use the new certificate until the key file contains the key of this
    // certificate.
    fs::copy(path("two.pem"), path("live.pem")).expect("a copy");
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(certificate_serial(&address), first);
    fs::copy(path("two.key"), path("live.key")).expect("a copy");
    wait_for("the new certificate", 30, || (certificate_serial(&address) != first).then_some(()));
    let (succeeded, printed) = run_curl(&["--cacert", &authority_file, &url]);
    assert!(succeeded, "{printed}");
}

#[test]
fn many_requests_of_one_http2_connection_are_answered() {
    let authority = Authority::new();
    authority.issue("one", "subjectAltName = IP:127.0.0.1");
    let (certificate, key) = (authority.file("one.pem"), authority.file("one.key"));
    let config = format!("tls_certificate = {certificate:?}\ntls_key = {key:?}");
    let server = ServerProcess::start("127.0.0.1:0", &config);
    let body = server.home.path().join("body");
    fs::write(&body, failed_test().to_string()).expect("the body is written");
    let one = format!(
        "url = \"{}/hooks/unknown/defects\"\ndata = \"@{}\"\ncacert = {:?}\ninclude\n",
        server.address,
        body.display(),
        authority.file("ca.pem")
    );
    let requests = server.home.path().join("requests");
    fs::write(&requests, [one.as_str(); 60].join("next\n")).expect("the requests are written");
    let requests = requests.display().to_string();
    let (succeeded, printed) = run_curl(&["--verbose", "--parallel", "--config", &requests]);
    assert!(succeeded, "{printed}");
    // curl also prints its verbose log. In this log, the lines of an answer begin with `< `.
    let answers = printed.matches("HTTP/2 404").count() - printed.matches("< HTTP/2 404").count();
    assert_eq!(answers, 60, "{printed}");
    assert_eq!(printed.matches("Re-using existing").count(), 59, "{printed}");
}

#[test]
fn a_unix_socket_is_open_to_its_group_and_is_replaced_after_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("http.sock");
    let listen = format!("unix:{}", path.display());
    let mut server = ServerProcess::start(&listen, "");
    assert_eq!(server.address, listen);
    let mode = fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let socket = path.display().to_string();
    let get = || run_curl(&["--unix-socket", &socket, "http://localhost/healthz"]);
    assert!(get().1.contains("HTTP/1.1 200"), "{:?}", get());
    server.restart(&listen);
    assert!(get().1.contains("HTTP/1.1 200"), "{:?}", get());
}

/// Python code that starts the server with `--listen 0.0.0.0:9`. Like systemd, it passes a socket
/// as file descriptor 3. The socket listens on 127.0.0.77.
const SOCKET_ACTIVATION: &str = "\
import os, socket, sys
s = socket.socket()
s.bind(('127.0.0.77', 0))
s.listen()
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], [a.replace('127.0.0.1:0', '0.0.0.0:9') for a in sys.argv[1:]])
";

#[test]
fn systemd_passes_a_socket_and_is_notified_of_start_and_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let notified = UnixDatagram::bind(&path).expect("a socket");
    notified.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    let mut host = Setup::new()
        .run_under(&["python3", "-c", SOCKET_ACTIVATION])
        .env("NOTIFY_SOCKET", &path.display().to_string())
        .start();
    assert!(host.url().starts_with("http://127.0.0.77:"), "{}", host.url());
    let receive = || {
        let mut bytes = [0; 200];
        let count = notified.recv(&mut bytes).expect("a notification");
        String::from_utf8_lossy(&bytes[..count]).trim().to_owned()
    };
    assert_eq!(receive(), "READY=1");
    // The socket of systemd has a loopback address, although `listen` is 0.0.0.0. So the server
    // refuses the host name `evil.example`.
    let headers = [("host", "evil.example")];
    let refused = host.anonymous().send("GET", "/healthz", &headers, b"");
    refused.assert_problem(421, "host-not-allowed");
    host.stop();
    assert_eq!(receive(), "STOPPING=1");
}

/// Starts a server whose connection `qa` refuses every client except 192.0.2.1. Each refusal
/// contains the address that the server uses for the client.
fn host_that_names_clients(config: &str) -> (TestHost, Connection) {
    let host = Setup::new().config(config).guests(["instant"]).start();
    let body = json!({"name": "qa", "connector": "instant",
        "webhook_auth": {"allowed_clients": ["192.0.2.1"]}});
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    (host, Connection::from_json(&created))
}

fn exchange(host: &TestHost, bytes: &[u8]) -> String {
    exchange_with(host.url().trim_start_matches("http://"), bytes)
}

fn exchange_with(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    stream.write_all(bytes).expect("the bytes are sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_trusted_proxy_names_the_client_by_the_proxy_protocol() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let config = |trusted: &str| {
        format!(
            "proxy_protocol = true\ntrusted_proxies = [{trusted:?}]\nadmin_listen = \"unix:{socket}\""
        )
    };
    let server = ServerProcess::start("127.0.0.1:0", &config("127.0.0.1"));
    let address = server.address.strip_prefix("http://").expect("http").to_owned();
    let send = |bytes: &[u8]| exchange_with(&address, bytes);
    let get = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes()
    };
    let unknown = get("/hooks/unknown");
    let v1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 1000 80\r\n";
    let answer = send(&[v1, &unknown[..]].concat());
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(!answer.contains("strict-transport-security"), "{answer}");
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xcb\0\x71\x09\xc0\0\x02\x01\0\x01\0\x02\x20\0\x05\x01\0\0\0\0";
    let answer = send(&[v2, &unknown[..]].concat());
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("strict-transport-security"), "the client used TLS: {answer}");
    assert_eq!(send(&unknown), "", "a client without the header was answered");
    // `admin_listen` is a Unix socket, which needs no header of the PROXY protocol.
    let bearer = format!("authorization: Bearer {ADMIN_TOKEN}");
    let url = "http://localhost/api/v1/events";
    let admin = || run_curl(&["--unix-socket", &socket, "--header", &bearer, url]).1;
    assert!(admin().starts_with("HTTP/1.1 200"), "{}", admin());
    drop(server);

    let server = ServerProcess::start("127.0.0.1:0", &config("192.0.2.1"));
    let address = server.address.strip_prefix("http://").expect("http").to_owned();
    let answer = exchange_with(&address, &[v1, &unknown[..]].concat());
    assert!(
        answer.starts_with("HTTP/1.1 400"),
        "a header of an untrusted client was accepted: {answer}"
    );
    assert!(exchange_with(&address, &unknown).starts_with("HTTP/1.1 404"));
}

/// A proxy that forwards bytes unchanged writes no HTTP headers, so all of them come from the
/// client.
#[test]
fn http_headers_of_a_client_are_not_trusted_with_the_proxy_protocol() {
    let home = empty_home();
    let secret = home.path().join("proxy-secret");
    fs::write(&secret, "the-secret-of-the-reverse-proxy\n").expect("the secret is written");
    let config = format!(
        "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]
         proxy_user_header = \"x-remote-user\"\nproxy_role_header = \"x-remote-role\"
         secret_file_roots = [{:?}]\nproxy_secret = \"file:{}\"",
        home.path().display().to_string(),
        secret.display(),
    );
    let server = ServerProcess::start("127.0.0.1:0", &config);
    let address = server.address.strip_prefix("http://").expect("http").to_owned();
    let request = "GET /api/v1/account HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\
                   x-forwarded-for: 10.0.0.9\r\nx-remote-user: eve\r\nx-remote-role: admin\r\n\
                   x-jackfield-proxy-secret: the-secret-of-the-reverse-proxy\r\n\r\n";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let unspecified = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0";
    for (header, status) in [
        (&b"PROXY TCP4 203.0.113.9 192.0.2.1 1000 80\r\n"[..], 401),
        (b"PROXY UNKNOWN\r\n", 401),
        (local, 401),
        (unspecified, 401),
        // The PROXY header names a trusted reverse proxy as the client. So the HTTP headers of this
        // client are trusted.
        (b"PROXY TCP4 10.0.0.1 192.0.2.1 1000 80\r\n", 200),
    ] {
        let answer = exchange_with(&address, &[header, request.as_bytes()].concat());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{header:?}: {answer}");
    }
}

#[test]
fn a_proxy_needs_no_secret_to_name_a_person_through_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("http.sock").display().to_string();
    let config = "proxy_user_header = \"x-remote-user\"\nproxy_role_header = \"x-remote-role\"";
    let _served = ServerProcess::start(
        &format!("unix:{socket}"),
        &format!("listen = \"unix:{socket}\"\n{config}"),
    );
    let headers = ["--header", "x-remote-user: ann", "--header", "x-remote-role: viewer"];
    let url = "http://localhost/api/v1/account";
    let get = |more: &[&str]| {
        run_curl(&[&["--unix-socket", &socket, url][..], &headers, more].concat()).1
    };
    let signed_in = get(&["--header", "x-forwarded-for: 203.0.113.9"]);
    assert!(signed_in.contains("HTTP/1.1 200") && signed_in.contains("proxy:ann"), "{signed_in}");
    assert!(get(&[]).contains("HTTP/1.1 401"), "accepted, although no proxy named the client");
}

#[test]
fn only_a_trusted_proxy_can_name_the_client_and_its_scheme() {
    let get = |connection: &Connection, headers: &str| {
        let path = &connection.webhook_path;
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n")
    };
    let (trusting, connection) = host_that_names_clients("trusted_proxies = [\"127.0.0.1\"]");
    for (headers, client, is_https) in [
        ("", "127.0.0.1", false),
        ("x-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https\r\n", "203.0.113.9", true),
        ("forwarded: for=203.0.113.9;proto=https\r\n", "203.0.113.9", true),
        ("forwarded: for=\"[2001:db8::7]:99\";proto=http\r\n", "2001:db8::7", false),
        ("x-forwarded-for: 198.51.100.1, 203.0.113.9\r\n", "203.0.113.9", false),
    ] {
        let answer = exchange(&trusting, get(&connection, headers).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 403"), "{headers}: {answer}");
        assert!(answer.contains(&format!("from the address {client}\"")), "{headers}: {answer}");
        assert_eq!(answer.contains("strict-transport-security"), is_https, "{headers}: {answer}");
    }
    // One of these two headers comes from the client. The server cannot use the address of the
    // proxy instead, because that may be an allowed address.
    for headers in [
        "x-forwarded-for: 127.0.0.1\r\nforwarded: for=192.0.2.1\r\n",
        "x-forwarded-for: 203.0.113.9\r\nforwarded: for=unknown\r\n",
    ] {
        let answer = exchange(&trusting, get(&connection, headers).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{headers}: {answer}");
        assert!(answer.contains("name different clients"), "{headers}: {answer}");
    }
    let unknown = exchange(&trusting, get(&connection, "forwarded: for=unknown\r\n").as_bytes());
    assert!(unknown.contains("from the address ::\""), "{unknown}");
    let (other, connection) = host_that_names_clients("");
    let headers = "x-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https\r\n";
    let answer = exchange(&other, get(&connection, headers).as_bytes());
    assert!(answer.contains("from the address 127.0.0.1\""), "{answer}");
    assert!(!answer.contains("strict-transport-security"), "{answer}");
}

#[test]
fn no_answer_shows_the_version_and_each_has_the_security_headers() {
    let (host, connection) = Setup::new().start_with_guest("instant", json!({}));
    let unknown = format!("{}/unknown", connection.webhook_path);
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/problems/not-found",
        "/unknown",
        "/hooks/unknown",
        &unknown,
        "/api/v1/status",
    ] {
        let answer = host.anonymous().get(path);
        for (name, begin) in [
            ("content-security-policy", "default-src 'none'"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            let value = answer.header(name).unwrap_or_default();
            assert!(value.starts_with(begin), "{path} {name}: {answer:?}");
        }
        assert_eq!(answer.header("server"), None, "{path}");
        let text = format!("{answer:?}");
        assert!(!text.contains(env!("CARGO_PKG_VERSION")), "{path}: {text}");
    }
}

#[test]
fn systemd_accepts_the_units_of_the_operators_manual() {
    let page =
        fs::read_to_string(jackfield_tests::root().join("docs/operator.md")).expect("the page");
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["jackfield.service", "jackfield.socket"] {
        let head = format!("```ini\n# /etc/systemd/system/{name}\n");
        let unit = page.split(&head).nth(1).and_then(|rest| rest.split("```").next());
        let unit = unit
            .expect("a unit")
            .replace("/usr/local/bin/jackfield", &binary().display().to_string());
        fs::write(folder.path().join(name), unit.replace("User=jackfield", "User=root"))
            .expect("a unit");
    }
    let mut verify = Command::new("systemd-analyze");
    let units = ["verify", "./jackfield.service", "./jackfield.socket"];
    let output =
        verify.args(units).current_dir(folder.path()).output().expect("systemd-analyze runs");
    // systemd-analyze also reads the units of this machine, and reports their problems.
    let reported = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !reported.contains("jackfield"), "{reported}");
}
