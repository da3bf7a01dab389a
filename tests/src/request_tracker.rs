//! Runs a real Request Tracker from Debian's packages, at most one for each test process.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::repository::run;
use crate::{Client, wait_for};

const SERVER: &str = "/usr/share/request-tracker5/libexec/rt-server";
const INSTALL_COMMAND: &str = "apt-get install request-tracker5 rt5-standalone rt5-db-sqlite";

/// A running Request Tracker.
pub struct RequestTracker {
    address: String,
    /// A token of the user `root`.
    token: String,
}

impl RequestTracker {
    /// Returns the Request Tracker of this test process. The first call starts it.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RequestTracker> = OnceLock::new();
        SHARED.get_or_init(start_request_tracker)
    }

    /// Returns `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the secrets of a connection: the token of the user `root`.
    #[must_use]
    pub fn secrets(&self) -> Value {
        json!({"token": self.token})
    }

    /// Creates a queue, and returns its name.
    #[must_use]
    pub fn queue(&self) -> String {
        let name = format!("qa {}", uuid::Uuid::new_v4().simple());
        self.client().json("POST", "/queue", &json!({"Name": name})).assert_status(201);
        name
    }

    /// Creates a ticket with a priority, and returns its number.
    pub fn add(&self, queue: &str, priority: u32) -> String {
        let ticket = json!({"Queue": queue, "Subject": "added by hand", "Priority": priority});
        let added = self.client().json("POST", "/ticket", &ticket).expect(201);
        added["id"].as_str().expect("a number").to_owned()
    }

    /// Changes the status of a ticket.
    pub fn set_status(&self, ticket: &str, status: &str) {
        let path = format!("/ticket/{ticket}");
        let answer = self.client().json("PUT", &path, &json!({"Status": status})).expect(200);
        assert!(answer.to_string().contains("changed from"), "{answer}");
    }

    /// Returns the ticket with this number.
    #[must_use]
    pub fn ticket(&self, id: &str) -> Value {
        self.client().get(&format!("/ticket/{id}")).expect(200)
    }

    /// Returns the oldest tickets of a queue, at most 100, the oldest first.
    #[must_use]
    pub fn tickets(&self, queue: &str) -> Vec<Value> {
        let query = format!("Queue%20%3D%20%27{}%27", queue.replace(' ', "%20"));
        let path = format!("/tickets?query={query}&fields=Subject,Status&per_page=100&orderby=id");
        let found = self.client().get(&path).expect(200);
        found["items"].as_array().expect("tickets").clone()
    }

    /// Returns the subjects and file names of the texts and files of a ticket, at most 100.
    #[must_use]
    pub fn attachments(&self, id: &str) -> Vec<Value> {
        let path = format!("/ticket/{id}/attachments?fields=Subject,Filename&per_page=100");
        self.client().get(&path).expect(200)["items"].as_array().expect("a list").clone()
    }

    fn client(&self) -> Client {
        let url = format!("http://{}/REST/2.0", self.address);
        Client::new(&url, &[("Authorization", &format!("token {}", self.token))])
    }
}

/// Creates a database and starts the server. A shell kills the server when the pipe from this
/// process to the shell closes, at the end of this process.
fn start_request_tracker() -> RequestTracker {
    assert!(Path::new(SERVER).exists(), "Request Tracker is not installed: {INSTALL_COMMAND}");
    let home = tempfile::tempdir().expect("a temporary folder").keep();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let site = home.join("site.pm");
    std::fs::create_dir(home.join("none")).expect("a folder");
    std::fs::write(&site, settings_file(&home, port)).expect("the settings are written");
    std::fs::write(home.join("seed.pl"), SEED_SCRIPT).expect("the script is written");
    let with_settings = |program: &str| {
        let mut command = Command::new(program);
        command.env("RT_SITE_CONFIG", &site).env("RT_SITE_CONFIG_DIR", home.join("none"));
        command
    };
    let arguments =
        ["--action", "init", "--skip-create", "--dba", "", "--prompt-for-dba-password", "0"];
    run(with_settings("rt-setup-database-5").args(arguments).stdin(Stdio::null()));
    let token = run(with_settings("perl").arg(home.join("seed.pl")));
    let script = "\"$1\" --port \"$2\" </dev/null >/dev/null 2>&1 & read _; kill $!; rm -rf \"$3\"";
    let mut shell = with_settings("sh");
    shell.args(["-c", script, "request-tracker", SERVER, &port.to_string()]).arg(&home);
    drop(listener);
    let mut shell = shell.stdin(Stdio::piped()).spawn().expect("a shell");
    // The pipe stays open until this process ends.
    std::mem::forget(shell.stdin.take());
    std::thread::spawn(move || shell.wait());
    let address = format!("127.0.0.1:{port}");
    let tracker = RequestTracker { address: address.clone(), token: token.trim().to_owned() };
    wait_for("Request Tracker to answer", 60, || {
        std::net::TcpStream::connect(&address).ok()?;
        (tracker.client().get("/rt").status == 200).then_some(())
    });
    tracker
}

fn settings_file(home: &Path, port: u16) -> String {
    let database = home.join("rt.sqlite");
    format!(
        "Set($rtname, 'test'); Set($Organization, 'test.example'); Set($WebDomain, '127.0.0.1'); \
         Set($WebPort, {port}); Set($DatabaseType, 'SQLite'); Set($DatabaseName, '{}'); \
         Set($MailCommand, 'testfile'); Set($LogToSyslog, undef); Set($LogToSTDERR, 'critical'); 1;",
        database.display()
    )
}

/// A Perl script that adds a custom field for all queues, and prints a token of the user `root`.
const SEED_SCRIPT: &str = "
use lib '/usr/share/request-tracker5/lib';
use RT;
RT::LoadConfig();
RT::Init();
my $field = RT::CustomField->new(RT->SystemUser);
$field->Create(Name => 'Robot', Type => 'FreeformSingle', MaxValues => 1,
    LookupType => RT::Ticket->CustomFieldLookupType);
$field->AddToObject(RT::Queue->new(RT->SystemUser));
my $root = RT::User->new(RT->SystemUser);
$root->Load('root');
my ($ok, $message, $token) = RT::AuthToken->new(RT->SystemUser)->Create(
    Owner => $root->Id, Description => 'tests');
print $token;
";
