//! The server connects to trackers with TLS. The trackers' certificates are self-signed, or issued
//! by a company's own authority. The test server of OpenSSL is the tracker.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jackfield_tests::{Setup, TestHost, failed_test};
use serde_json::json;

/// A certificate authority, whose files are in a temporary folder.
pub(crate) struct Authority(tempfile::TempDir);

impl Authority {
    /// Creates an authority with a P-521 key that signs with SHA-512.
    pub(crate) fn new() -> Self {
        let authority = Self(tempfile::tempdir().expect("a temporary folder"));
        authority.run_openssl(&[
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp521r1 -sha512 -nodes -days 30",
            "-subj /CN=Company -keyout ca.key -out ca.pem",
        ]);
        authority
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Issues the certificate `NAME.pem` with its key `NAME.key` and this extension.
    pub(crate) fn issue(&self, name: &str, extension: &str) {
        std::fs::write(self.0.path().join("extension"), extension).expect("a new file");
        self.run_openssl(&[
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes",
            &format!("-subj /CN={name} -keyout {name}.key -out {name}.csr"),
        ]);
        self.run_openssl(&[
            "x509 -req -days 30 -sha512 -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extension",
            &format!("-in {name}.csr -out {name}.pem"),
        ]);
    }

    fn run_openssl(&self, arguments: &[&str]) {
        let arguments = arguments.join(" ");
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split(' ')).current_dir(self.0.path()).output();
        let output = output.expect("openssl runs");
        assert!(
            output.status.success(),
            "{arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// A process `openssl s_server`, which answers each GET with a page. The process is killed when
/// this value is dropped.
struct TlsServer {
    process: Child,
    port: u16,
}

impl TlsServer {
    fn start(folder: &Path, arguments: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-accept", &format!("127.0.0.1:{port}")]);
        command.args(arguments.split(' ')).current_dir(folder);
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("openssl runs");
        let lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let accepts = lines.map_while(Result::ok).any(|line| line.contains("ACCEPT"));
        assert!(accepts, "openssl s_server {arguments} does not start");
        Self { process, port }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a server that trusts the certificates in this file.
fn start_host(extra_ca_file: &str) -> TestHost {
    Setup::new().config(&format!("extra_ca_file = {extra_ca_file:?}")).guests(["calls"]).start()
}

/// Runs `connections try`. Returns its output with single spaces between the words.
fn try_connection(host: &TestHost, name: &str) -> String {
    host.run_cli(&["connections", "try", name]).1.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_self_signed_certificate_in_the_extra_ca_file_is_trusted_for_its_own_name() {
    let authority = Authority::new();
    for (name, extra) in [("localhost", "-addext subjectAltName=DNS:localhost"), ("other", "")] {
        authority.run_openssl(&[
            "req -x509 -newkey rsa:2048 -nodes -days 30",
            format!("-subj /CN={name} -keyout self.key -out self.pem {extra}").trim_end(),
        ]);
        let server = TlsServer::start(authority.0.path(), "-cert self.pem -key self.key");
        let host = start_host(&authority.file("self.pem"));
        let settings = json!({"url": server.url(), "target": format!("{}/x", server.url())});
        let connection = host.add_connection("qa", "calls", settings, json!({}));
        let defect = host.create(&connection, &failed_test()).expect(200);
        let expected = if name == "localhost" { "200" } else { "unreachable" };
        assert_eq!(defect["id"], expected, "{defect}");
        let printed = try_connection(&host, "qa");
        let reason = "names no host (it has no subjectAltName), so it is not for localhost";
        assert_eq!(printed.contains(reason), name == "other", "{printed}");
    }
}

#[test]
fn a_client_certificate_is_sent_and_try_names_the_step_that_fails_without_the_certificate() {
    let authority = Authority::new();
    authority.issue("localhost", "subjectAltName=DNS:localhost");
    authority.issue("client", "extendedKeyUsage=clientAuth");
    let file = |name: &str| authority.file(name);
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = format!(
            "-cert localhost.pem -key localhost.key -CAfile ca.pem -Verify 2 -verify_return_error {version}"
        );
        let server = TlsServer::start(authority.0.path(), &arguments);
        let host = start_host(&file("ca.pem"));
        let settings = json!({"url": server.url(), "target": format!("{}/x", server.url())});
        let connection = host.add_connection("qa", "calls", settings, json!({}));
        let printed = try_connection(&host, "qa");
        assert!(printed.contains("the step \"tls\" failed"), "{version}: {printed}");
        assert!(printed.contains("requires a client certificate"), "{version}: {printed}");
        let edit = |arguments: &[&str]| {
            let all_arguments = [&["connections", "edit", "qa"], arguments].concat();
            host.run_cli(&all_arguments)
        };
        let (cert, key) = (file("client.pem"), file("client.key"));
        let (succeeded, printed) = edit(&["--client-cert", &cert, "--client-key", &file("ca.key")]);
        assert!(!succeeded && printed.contains("is not the key of the first"), "{printed}");
        let (succeeded, printed) = edit(&["--client-cert", &cert]);
        assert!(!succeeded && printed.contains("needs both"), "{printed}");
        std::fs::write(file("short"), "x\n").expect("a file that is no certificate");
        let (succeeded, printed) = edit(&["--client-cert", &file("short"), "--client-key", &key]);
        assert!(!succeeded && printed.contains("contains no certificate"), "{printed}");
        assert!(printed.contains("client_cert") && !printed.contains("tls:"), "{printed}");
        let (succeeded, printed) = edit(&["--client-cert", &cert, "--client-key", &key]);
        assert!(succeeded, "{printed}");
        let printed = try_connection(&host, "qa");
        assert!(printed.contains("with the client certificate"), "{version}: {printed}");
        let defect = host.create(&connection, &failed_test()).expect(200);
        assert_eq!(defect["id"], "200", "{version}: {defect}");
        let connection_details = host.connection("qa");
        assert_eq!(
            (&connection_details["has_client_cert"], &connection_details["secrets_set"]),
            (&json!(true), &json!([]))
        );
        let database = std::fs::read(host.data("jackfield.db")).expect("the database");
        let log = std::fs::read(host.data("jackfield.db-wal")).unwrap_or_default();
        let text = std::fs::read_to_string(&key).expect("the key");
        let line = text.lines().nth(1).expect("a line of the key").as_bytes();
        let contains_key = |bytes: &[u8]| bytes.windows(line.len()).any(|part| part == line);
        assert!(
            !contains_key(&database) && !contains_key(&log),
            "the key is stored without encryption"
        );
        let (succeeded, printed) = edit(&["--no-client-cert"]);
        assert!(succeeded && host.connection("qa")["has_client_cert"] == false, "{printed}");
        assert!(try_connection(&host, "qa").contains("requires a client certificate"));
    }
}

#[test]
fn the_server_can_read_a_client_certificate_from_files() {
    let authority = Authority::new();
    authority.issue("localhost", "subjectAltName=DNS:localhost");
    authority.issue("client", "extendedKeyUsage=clientAuth");
    let arguments =
        "-cert localhost.pem -key localhost.key -CAfile ca.pem -Verify 2 -verify_return_error";
    let server = TlsServer::start(authority.0.path(), arguments);
    let root: PathBuf = authority.0.path().canonicalize().expect("the folder");
    let config = format!(
        "extra_ca_file = {:?}\nsecret_file_roots = [{root:?}]\nsweep_ms = 100",
        authority.file("ca.pem")
    );
    let host = Setup::new().config(&config).guests(["calls"]).start();
    let set = [format!("url={}", server.url()), format!("target={}/x", server.url())];
    let (cert, key) = (
        format!("file:{}/client.pem", root.display()),
        format!("file:{}/client.key", root.display()),
    );
    let mut arguments_of_create = vec!["connections", "create", "qa", "--connector", "calls"];
    arguments_of_create.extend(["--client-cert", &cert, "--client-key", &key]);
    arguments_of_create.extend(set.iter().flat_map(|set| ["--set", set.as_str()]));
    let (succeeded, printed) = host.run_cli(&arguments_of_create);
    assert!(succeeded, "{printed}");
    let printed = try_connection(&host, "qa");
    assert!(printed.contains("with the client certificate"), "{printed}");
    // The server reads a changed key file without an edit of the connection. The error reports that
    // the key does not belong to the certificate.
    std::fs::copy(authority.0.path().join("ca.key"), root.join("client.key"))
        .expect("the key is copied");
    jackfield_tests::wait_for("the changed file to be read", 30, || {
        try_connection(&host, "qa")
            .contains("is not the key of the first certificate")
            .then_some(())
    });
}
