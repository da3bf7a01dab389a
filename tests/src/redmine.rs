//! A real Redmine, Debian's, with a database of its own: one for the whole run of the tests, a project
//! of its own for each test. What a test claims about the tracker it reads here, from Redmine itself.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::Client;
use crate::repository::{run, target};

const HOME: &str = "/usr/share/redmine";

/// Redmine's packages, for the message that names them.
const INSTALL: &str = "apt-get install --no-install-recommends redmine redmine-sqlite puma";

/// The running Redmine.
#[derive(Debug)]
pub struct Redmine {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The admin's API key.
    pub key: String,
}

/// One issue as Redmine tells it.
#[derive(Debug, Clone)]
pub struct Issue {
    /// Its number.
    pub id: u64,
    /// Its subject.
    pub subject: String,
    /// Its description.
    pub description: String,
    /// All of it.
    pub json: Value,
}

/// A project of one test.
#[derive(Debug)]
pub struct Project {
    /// Its identifier.
    pub id: String,
    redmine: &'static Redmine,
}

impl Redmine {
    /// The Redmine of this run, started at the first call.
    ///
    /// # Panics
    /// When it is not installed (with the command that installs it) or does not come up.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redmine> = OnceLock::new();
        SHARED.get_or_init(start)
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Makes a project for one test.
    ///
    /// # Panics
    /// When Redmine refuses.
    #[must_use]
    pub fn project(&'static self) -> Project {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let id = format!("p{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let body = json!({"project": {"name": id, "identifier": id, "is_public": true,
            "enabled_module_names": ["issue_tracking"], "tracker_ids": [1, 2, 3]}});
        let _ = self.client().json("POST", "/projects.json", &body).expect(201);
        Project { id, redmine: self }
    }

    /// The secrets of a connection that acts as the admin.
    #[must_use]
    pub fn secrets(&self) -> Value {
        json!({"api-key": self.key})
    }

    /// Redmine's REST API as its admin.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.url, &[("x-redmine-api-key", &self.key)])
    }
}

impl Project {
    /// The settings of a connection to this project, reached by `url`.
    #[must_use]
    pub fn settings(&self, url: &str) -> Value {
        json!({"url": url, "project": self.id})
    }

    /// All its issues, oldest first.
    ///
    /// # Panics
    /// When Redmine does not tell.
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
            issues.extend(found.into_iter().map(issue));
            if issues.len() as u64 >= page["total_count"].as_u64().expect("total_count") {
                return issues;
            }
        }
    }

    /// Makes an issue by hand, open, of this priority (1 Low to 5 Immediate).
    ///
    /// # Panics
    /// When Redmine refuses.
    pub fn add(&self, priority: u32) -> u64 {
        let body = json!({"issue": {"project_id": self.id, "subject": "by hand", "priority_id": priority}});
        let made = self.redmine.client().json("POST", "/issues.json", &body).expect(201);
        made["issue"]["id"].as_u64().expect("an id")
    }

    /// Closes an issue.
    ///
    /// # Panics
    /// When Redmine refuses.
    pub fn close(&self, issue: u64) {
        let path = format!("/issues/{issue}.json");
        let body = json!({"issue": {"status_id": 5}});
        let _ = self.redmine.client().json("PUT", &path, &body).expect(204);
    }
}

fn issue(json: Value) -> Issue {
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    Issue {
        id: json["id"].as_u64().expect("an id"),
        subject: text("subject"),
        description: text("description"),
        json,
    }
}

/// Starts puma on a copy of the seeded database. The shell in between ends it when this process ends,
/// however it ends: the pipe that it reads from closes then.
fn start() -> Redmine {
    assert!(Path::new(HOME).join("config.ru").exists(), "Redmine is not installed: {INSTALL}");
    let seeded = seeded();
    let home = tempfile::tempdir().expect("a temporary folder").keep();
    instance(&home);
    for file in ["redmine.sqlite", "key"] {
        std::fs::copy(seeded.join(file), home.join(file)).expect("a copy of the seeded database");
    }
    let script = "puma -e production -t 1:1 -b tcp://127.0.0.1:0 config.ru </dev/null & \
                  read _; kill -9 $!; rm -rf \"$1\"";
    let mut shell = Command::new("sh")
        .args(["-c", script, "redmine"])
        .arg(&home)
        .current_dir(HOME)
        .envs(environment(&home))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let key = std::fs::read_to_string(home.join("key")).expect("the admin's key");
    let pipe = shell.stdin.take().expect("a pipe");
    // Held open for as long as this process lives.
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

/// The folder with a migrated and seeded database, made once and kept below `target/`.
fn seeded() -> PathBuf {
    let version = run(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "redmine"]));
    let kept = target().join(format!("redmine-{}", version.replace(['+', ':', '~'], "-")));
    if kept.join("key").exists() {
        return kept;
    }
    let home = target().join(format!("redmine-{}", std::process::id()));
    instance(&home);
    let seed = home.join("seed.rb");
    let mut file = std::fs::File::create(&seed).expect("a new file");
    file.write_all(SEED.as_bytes()).expect("a written file");
    let rails = |words: &[&str]| {
        run(Command::new("bin/rails").args(words).current_dir(HOME).envs(environment(&home)))
    };
    rails(&["db:migrate"]);
    rails(&["runner", &seed.display().to_string()]);
    // Another run may have been faster: its folder is as good as ours.
    if std::fs::rename(&home, &kept).is_err() {
        std::fs::remove_dir_all(&home).expect("our own folder");
    }
    kept
}

const SEED: &str = "
Redmine::DefaultData::Loader.load('en') if Redmine::DefaultData::Loader.no_data?
Setting.rest_api_enabled = '1'
admin = User.find_by_login('admin')
admin.must_change_passwd = false
admin.save!
File.write(ENV.fetch('KEY_FILE'), admin.api_key)
";

/// Lays out what Debian's Redmine calls an instance.
fn instance(home: &Path) {
    for name in ["config", "log", "tmp", "files", "public"] {
        std::fs::create_dir_all(home.join(name)).expect("a new folder");
    }
    let database = format!(
        "production:\n  adapter: sqlite3\n  database: {}\n  timeout: 15000\n",
        home.join("redmine.sqlite").display()
    );
    std::fs::write(home.join("config/database.yml"), database).expect("a new file");
    let secret = uuid::Uuid::new_v4().simple().to_string();
    std::fs::write(home.join("config/secret_key.txt"), secret).expect("a new file");
}

/// An instance is named by its path below Debian's folder of instances; going up further than there
/// are folders ends at the root, so that any folder can be one.
fn environment(home: &Path) -> [(&'static str, String); 4] {
    let up = "../".repeat(12);
    let below_root = home.strip_prefix("/").expect("an absolute path").display();
    [
        ("RAILS_ENV", "production".to_owned()),
        ("REDMINE_INSTANCE", format!("{up}{below_root}")),
        ("SCHEMA", home.join("schema.rb").display().to_string()),
        ("KEY_FILE", home.join("key").display().to_string()),
    ]
}
