//! TLS to trackers with certificates as companies use them. OpenSSL makes the certificates and
//! plays the tracker.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jackfield_tests::{Setup, TestHost, failed_test};
use serde_json::json;

/// A certificate authority with a folder of its own.
pub(crate) struct Authority(tempfile::TempDir);

impl Authority {
    /// An authority with a P-521 key that signs with SHA-512.
    pub(crate) fn new() -> Self {
        let authority = Self(tempfile::tempdir().expect("a temporary folder"));
        authority.openssl(&[
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp521r1 -sha512 -nodes -days 30",
            "-subj /CN=Company -keyout ca.key -out ca.pem",
        ]);
        authority
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Issues the certificate `NAME.pem` with its key `NAME.key`.
    pub(crate) fn issue(&self, name: &str, extension: &str) {
        std::fs::write(self.0.path().join("extension"), extension).expect("a new file");
        self.openssl(&[
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes",
            &format!("-subj /CN={name} -keyout {name}.key -out {name}.csr"),
        ]);
        self.openssl(&[
            "x509 -req -days 30 -sha512 -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extension",
            &format!("-in {name}.csr -out {name}.pem"),
        ]);
    }

    /// Runs `openssl` with these arguments, which must succeed.
    fn openssl(&self, words: &[&str]) {
        let words = words.join(" ");
        let mut command = Command::new("openssl");
        let done = command.args(words.split(' ')).current_dir(self.0.path()).output();
        let done = done.expect("openssl runs");
        assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// A process `openssl s_server`, which answers each GET with a page. It is killed when it is
/// dropped.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn host(extra_ca_file: &str) -> TestHost {
    Setup::new().config(&format!("extra_ca_file = {extra_ca_file:?}")).guests(["calls"]).start()
}

/// The output of `connections try`, with single spaces between the words.
fn tried(host: &TestHost, name: &str) -> String {
    host.run_cli(&["connections", "try", name]).1.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_self_signed_certificate_in_the_extra_ca_file_is_trusted_for_its_own_name() {
    let authority = Authority::new();
    for (name, extra) in [("localhost", "-addext subjectAltName=DNS:localhost"), ("other", "")] {
        authority.openssl(&[
            "req -x509 -newkey rsa:2048 -nodes -days 30",
            format!("-subj /CN={name} -keyout self.key -out self.pem {extra}").trim_end(),
        ]);
        let server = Server::start(authority.0.path(), "-cert self.pem -key self.key");
        let host = host(&authority.file("self.pem"));
        let settings = json!({"url": server.url(), "target": format!("{}/x", server.url())});
        let connection = host.connect("qa", "calls", settings, json!({}));
        let defect = host.create(&connection, &failed_test()).expect(200);
        let expected = if name == "localhost" { "200" } else { "unreachable" };
        assert_eq!(defect["id"], expected, "{defect}");
        let printed = tried(&host, "qa");
        let says = "names no host (it has no subjectAltName), so it is not for localhost";
        assert_eq!(printed.contains(says), name == "other", "{printed}");
    }
}

#[test]
fn a_client_certificate_is_sent_and_try_names_the_step_if_it_is_missing() {
    let authority = Authority::new();
    authority.issue("localhost", "subjectAltName=DNS:localhost");
    authority.issue("client", "extendedKeyUsage=clientAuth");
    let file = |name: &str| authority.file(name);
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = format!(
            "-cert localhost.pem -key localhost.key -CAfile ca.pem -Verify 2 -verify_return_error {version}"
        );
        let server = Server::start(authority.0.path(), &arguments);
        let host = host(&file("ca.pem"));
        let settings = json!({"url": server.url(), "target": format!("{}/x", server.url())});
        let connection = host.connect("qa", "calls", settings, json!({}));
        let printed = tried(&host, "qa");
        assert!(printed.contains("the step \"tls\" failed"), "{version}: {printed}");
        assert!(printed.contains("requires a client certificate"), "{version}: {printed}");
        let edit = |arguments: &[&str]| {
            let words = [&["connections", "edit", "qa"], arguments].concat();
            host.run_cli(&words)
        };
        let (cert, key) = (file("client.pem"), file("client.key"));
        let (done, printed) = edit(&["--client-cert", &cert, "--client-key", &file("ca.key")]);
        assert!(!done && printed.contains("is not the key of the first"), "{printed}");
        let (done, printed) = edit(&["--client-cert", &cert]);
        assert!(!done && printed.contains("needs both"), "{printed}");
        std::fs::write(file("short"), "x\n").expect("a file that is no certificate");
        let (done, printed) = edit(&["--client-cert", &file("short"), "--client-key", &key]);
        assert!(!done && printed.contains("contains no certificate"), "{printed}");
        assert!(printed.contains("client_cert") && !printed.contains("tls:"), "{printed}");
        let (done, printed) = edit(&["--client-cert", &cert, "--client-key", &key]);
        assert!(done, "{printed}");
        let printed = tried(&host, "qa");
        assert!(printed.contains("with the client certificate"), "{version}: {printed}");
        let defect = host.create(&connection, &failed_test()).expect(200);
        assert_eq!(defect["id"], "200", "{version}: {defect}");
        let shown = host.connection("qa");
        assert_eq!((&shown["has_client_cert"], &shown["secrets_set"]), (&json!(true), &json!([])));
        let database = std::fs::read(host.data("jackfield.db")).expect("the database");
        let log = std::fs::read(host.data("jackfield.db-wal")).unwrap_or_default();
        let text = std::fs::read_to_string(&key).expect("the key");
        let line = text.lines().nth(1).expect("a line of the key").as_bytes();
        let is_there = |bytes: &[u8]| bytes.windows(line.len()).any(|part| part == line);
        assert!(!is_there(&database) && !is_there(&log), "the key is stored without encryption");
        let (done, printed) = edit(&["--no-client-cert"]);
        assert!(done && host.connection("qa")["has_client_cert"] == false, "{printed}");
        assert!(tried(&host, "qa").contains("requires a client certificate"));
    }
}

#[test]
fn the_server_can_read_a_client_certificate_from_files() {
    let authority = Authority::new();
    authority.issue("localhost", "subjectAltName=DNS:localhost");
    authority.issue("client", "extendedKeyUsage=clientAuth");
    let arguments =
        "-cert localhost.pem -key localhost.key -CAfile ca.pem -Verify 2 -verify_return_error";
    let server = Server::start(authority.0.path(), arguments);
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
    let mut words = vec!["connections", "create", "qa", "--connector", "calls"];
    words.extend(["--client-cert", &cert, "--client-key", &key]);
    words.extend(set.iter().flat_map(|set| ["--set", set.as_str()]));
    let (done, printed) = host.run_cli(&words);
    assert!(done, "{printed}");
    let printed = tried(&host, "qa");
    assert!(printed.contains("with the client certificate"), "{printed}");
    // A changed key file is read without an edit. The error says that it does not fit.
    std::fs::copy(authority.0.path().join("ca.key"), root.join("client.key"))
        .expect("the key is copied");
    jackfield_tests::wait_for("the changed file to be read", 30, || {
        tried(&host, "qa").contains("is not the key of the first certificate").then_some(())
    });
}
