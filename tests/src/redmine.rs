//! Runs a real Redmine from Debian's packages: one server for each test process, and one project
//! for each connection.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::repository::{run, target};
use crate::{Client, sha256};

const REDMINE_FOLDER: &str = "/usr/share/redmine";

const INSTALL_COMMAND: &str = "apt-get install --no-install-recommends redmine redmine-sqlite puma";

/// A running Redmine that all tests of the process share.
#[derive(Debug)]
pub struct Redmine {
    /// The base URL, `http://127.0.0.1:PORT`.
    pub url: String,
    /// The API key of Redmine's administrator.
    pub key: String,
}

/// An issue, as Redmine returns it.
#[derive(Debug, Clone)]
pub struct Issue {
    /// The number of the issue.
    pub id: String,
    /// The title of the issue.
    pub subject: String,
    /// The text of the issue.
    pub description: String,
    /// The record of the issue in Redmine's list of issues.
    pub json: Value,
}

impl Issue {
    /// Returns whether the description contains the execution id of this failed test.
    #[must_use]
    pub fn is_about(&self, test: &Value) -> bool {
        self.description.contains(test["testExecutionId"].as_str().expect("a uuid"))
    }
}

/// A file that is attached to an issue.
#[derive(Debug, Clone)]
pub struct IssueFile {
    /// The file name in Redmine.
    pub name: String,
    /// The media type that Redmine stores.
    pub media_type: String,
    /// The bytes of the file.
    pub bytes: Vec<u8>,
}

/// A Redmine project that only one test uses.
#[derive(Debug)]
pub struct Project {
    /// The project's identifier in Redmine's URLs.
    pub id: String,
    redmine: &'static Redmine,
}

impl Redmine {
    /// Returns the Redmine of this test process. The first call starts it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redmine> = OnceLock::new();
        SHARED.get_or_init(start_redmine)
    }

    /// Returns `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Creates a project for one test.
    #[must_use]
    pub fn project(&'static self) -> Project {
        static NEXT_PROJECT_NUMBER: AtomicU32 = AtomicU32::new(1);
        let id = format!("p{}", NEXT_PROJECT_NUMBER.fetch_add(1, Ordering::Relaxed));
        let body = json!({"project": {"name": id, "identifier": id, "is_public": true,
            "enabled_module_names": ["issue_tracking"], "tracker_ids": [1, 2, 3]}});
        self.client().json("POST", "/projects.json", &body).assert_status(201);
        Project { id, redmine: self }
    }

    /// Returns the secrets of a connection that uses the administrator's API key.
    #[must_use]
    pub fn secrets(&self) -> Value {
        json!({"api-key": self.key})
    }

    /// Returns the id of a custom field of issues.
    #[must_use]
    pub fn custom_field(&self, name: &str) -> u64 {
        let fields = self.client().get("/custom_fields.json").expect(200)["custom_fields"].take();
        let mut fields = fields.as_array().expect("fields").iter();
        let field = fields.find(|field| field["name"] == name);
        field.and_then(|field| field["id"].as_u64()).unwrap_or_else(|| panic!("no field {name}"))
    }

    /// Returns a client of Redmine's REST API with the administrator's API key.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.url, &[("x-redmine-api-key", &self.key)])
    }
}

impl Project {
    /// Returns the settings of a connection to this project, with Redmine at `url`.
    #[must_use]
    pub fn settings(&self, url: &str) -> Value {
        json!({"url": url, "project": self.id})
    }

    /// Returns all issues of the project, oldest first.
    #[must_use]
    pub fn issues(&self) -> Vec<Issue> {
        let mut issues = Vec::new();
        loop {
            let path = format!(
                "/issues.json?project_id={}&status_id=*&sort=id&limit=100&offset={}",
                self.id,
                issues.len()
            );
            let page = self.redmine.client().get(&path).expect(200);
            let found = page["issues"].as_array().expect("issues").clone();
            issues.extend(found.into_iter().map(parse_issue));
            if issues.len() as u64 >= page["total_count"].as_u64().expect("total_count") {
                return issues;
            }
        }
    }

    /// Returns the only issue of the project.
    #[must_use]
    #[track_caller]
    pub fn only_issue(&self) -> Issue {
        let mut issues = self.issues();
        assert_eq!(issues.len(), 1, "{issues:?}");
        issues.remove(0)
    }

    /// Downloads the files of an issue.
    #[must_use]
    pub fn files(&self, issue: &str) -> Vec<IssueFile> {
        let client = self.redmine.client();
        let listed = client.get(&format!("/issues/{issue}.json?include=attachments")).expect(200);
        let files = listed["issue"]["attachments"].as_array().expect("attachments");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let file = |file: &Value| IssueFile {
            name: text(&file["filename"]),
            media_type: text(&file["content_type"]),
            bytes: client.download(&format!("/attachments/download/{}", file["id"])),
        };
        files.iter().map(file).collect()
    }

    /// Returns the issues whose description names this failed test.
    #[must_use]
    pub fn issues_of(&self, test: &Value) -> Vec<Issue> {
        self.issues().into_iter().filter(|issue| issue.is_about(test)).collect()
    }

    /// Creates an open issue with this priority (1 is Low, 5 is Immediate), without Jackfield.
    /// Returns the number of the issue.
    pub fn add(&self, priority: u32) -> u64 {
        let body = json!({"issue": {"project_id": self.id, "subject": "without Jackfield", "priority_id": priority}});
        let created = self.redmine.client().json("POST", "/issues.json", &body).expect(201);
        created["issue"]["id"].as_u64().expect("an id")
    }

    /// Deletes an issue. Adds another issue first, because Redmine's SQLite database would give the
    /// number of a deleted newest issue to the next issue, which may belong to another test.
    pub fn delete(&self, issue: &str) {
        self.add(1);
        let path = format!("/issues/{issue}.json");
        self.redmine.client().json("DELETE", &path, &json!({})).assert_status(204);
    }

    /// Closes an issue. Tries again if Redmine fails, because on a busy machine its SQLite database
    /// may be locked for longer than Redmine waits.
    pub fn close(&self, issue: u64) {
        let path = format!("/issues/{issue}.json");
        let body = json!({"issue": {"status_id": 5}});
        let send = || self.redmine.client().json("PUT", &path, &body);
        let mut answers = (0..2).map(|_| send()).filter(|answer| answer.status != 500);
        answers.next().unwrap_or_else(send).assert_status(204);
    }
}

/// Decodes the numeric character references, such as `&#42;`, in a Textile text.
#[must_use]
pub fn as_shown(textile: &str) -> String {
    let mut parts = textile.split("&#");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let decoded = part
            .split_once(';')
            .and_then(|(number, rest)| Some((char::from_u32(number.parse().ok()?)?, rest)));
        match decoded {
            Some((character, rest)) => text + &character.to_string() + rest,
            None => text + "&#" + part,
        }
    })
}

fn parse_issue(json: Value) -> Issue {
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    Issue {
        id: json["id"].as_u64().expect("an id").to_string(),
        subject: text("subject"),
        description: text("description"),
        json,
    }
}

/// Starts the web server puma with a copy of the seeded database. A shell kills puma when the pipe
/// from this process to the shell closes, at the end of this process.
fn start_redmine() -> Redmine {
    assert!(
        Path::new(REDMINE_FOLDER).join("config.ru").exists(),
        "Redmine is not installed: {INSTALL_COMMAND}"
    );
    let seeded = seeded_folder();
    let home = tempfile::tempdir().expect("a temporary folder").keep();
    create_instance(&home);
    for file in ["redmine.sqlite", "key"] {
        std::fs::copy(seeded.join(file), home.join(file)).expect("a copy of the seeded database");
    }
    let script = "puma -e production -t 1:1 -b tcp://127.0.0.1:0 config.ru </dev/null & \
                  read _; kill -9 $!; rm -rf \"$1\"";
    let mut shell = Command::new("sh")
        .args(["-c", script, "redmine"])
        .arg(&home)
        .current_dir(REDMINE_FOLDER)
        .envs(environment(&home))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let key = std::fs::read_to_string(home.join("key")).expect("the admin's key");
    let pipe = shell.stdin.take().expect("a pipe");
    // The pipe stays open until this process ends.
    std::mem::forget(pipe);
    let mut lines =
        BufReader::new(shell.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut printed = String::new();
    let url = lines.by_ref().find_map(|line| {
        printed += &line;
        line.split_once("Listening on ").map(|(_, url)| url.trim().to_owned())
    });
    std::thread::spawn(move || {
        lines.for_each(drop);
        shell.wait()
    });
    Redmine { url: url.unwrap_or_else(|| panic!("puma did not start: {printed}")), key }
}

/// Returns a folder with a migrated and seeded database, which later test runs use again.
fn seeded_folder() -> PathBuf {
    let version = run(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "redmine"]));
    let seed_hash = sha256(SEED_SCRIPT.as_bytes());
    let name = format!("redmine-{}-{}", version.replace(['+', ':', '~'], "-"), &seed_hash[..8]);
    let folder = target().join(name);
    if folder.join("key").exists() {
        return folder;
    }
    let home = target().join(format!("redmine-{}", std::process::id()));
    create_instance(&home);
    let seed = home.join("seed.rb");
    let mut file = std::fs::File::create(&seed).expect("the file is created");
    file.write_all(SEED_SCRIPT.as_bytes()).expect("the file is written");
    let rails = |arguments: &[&str]| {
        run(Command::new("bin/rails")
            .args(arguments)
            .current_dir(REDMINE_FOLDER)
            .envs(environment(&home)))
    };
    rails(&["db:migrate"]);
    rails(&["runner", &seed.display().to_string()]);
    // Another test run may have created the folder in the meantime.
    if std::fs::rename(&home, &folder).is_err() {
        std::fs::remove_dir_all(&home).expect("the temporary folder is removed");
    }
    folder
}

/// A Ruby script that adds the default data and two custom fields, enables the REST API and writes
/// the admin's API key to a file.
const SEED_SCRIPT: &str = "
Redmine::DefaultData::Loader.load('en') if Redmine::DefaultData::Loader.no_data?
Setting.rest_api_enabled = '1'
fields = { tracker_ids: Tracker.pluck(:id), is_for_all: true, is_filter: true }
IssueCustomField.create!(name: 'Robot', field_format: 'string', **fields)
IssueCustomField.create!(name: 'Severity', field_format: 'list', possible_values: %w[Minor Major], **fields)
admin = User.find_by_login('admin')
admin.must_change_passwd = false
admin.save!
File.write(ENV.fetch('KEY_FILE'), admin.api_key)
";

/// Creates the folders and files of an instance: Debian's term for a Redmine with its own database
/// and settings.
fn create_instance(home: &Path) {
    for name in ["config", "log", "tmp", "files", "public"] {
        std::fs::create_dir_all(home.join(name)).expect("the folder is created");
    }
    let database = format!(
        "production:\n  adapter: sqlite3\n  database: {}\n  timeout: 15000\n",
        home.join("redmine.sqlite").display()
    );
    std::fs::write(home.join("config/database.yml"), database).expect("the file is created");
    let secret = uuid::Uuid::new_v4().simple().to_string();
    std::fs::write(home.join("config/secret_key.txt"), secret).expect("the file is created");
}

/// Returns the environment variables of an instance. Debian's Redmine expects the path of an
/// instance relative to a fixed folder, so the path begins with enough `../` to reach the root.
fn environment(home: &Path) -> [(&'static str, String); 4] {
    let to_root = "../".repeat(12);
    let below_root = home.strip_prefix("/").expect("an absolute path").display();
    [
        ("RAILS_ENV", "production".to_owned()),
        ("REDMINE_INSTANCE", format!("{to_root}{below_root}")),
        ("SCHEMA", home.join("schema.rb").display().to_string()),
        ("KEY_FILE", home.join("key").display().to_string()),
    ]
}
