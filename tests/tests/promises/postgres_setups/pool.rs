//! Servers connect to PostgreSQL through PgBouncer. The servers work with PgBouncer's mode
//! `session`, and refuse to start with the modes `transaction` and `statement`.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use jackfield_tests::{Guest, Postgres, failed_test, wait_for};
use serde_json::json;
use tempfile::TempDir;

use super::{CommandFolder, PASSWORD, assert_pause_is_noticed, config, setup, start_postgres};

/// For how many failed tests each thread sends clicks while PgBouncer restarts.
const CLICKS_PER_THREAD: usize = 6;
const RESTARTS: usize = 2;

/// A process of PgBouncer, which is killed when this value is dropped.
struct PgBouncer {
    /// Contains the settings of PgBouncer and its file of users.
    folder: TempDir,
    port: u16,
    process: Child,
}

impl PgBouncer {
    fn start(postgres: &Postgres, mode: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let folder = tempfile::tempdir().expect("a folder");
        let users = folder.path().join("users");
        let settings = format!(
            "[databases]\napp = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n\
             auth_file = {}\npool_mode = {mode}\n",
            postgres.port(),
            users.display()
        );
        fs::write(users, format!("\"app\" \"{PASSWORD}\"\n")).expect("a file");
        fs::write(folder.path().join("settings"), settings).expect("a file");
        let process = start_process(folder.path(), port);
        Self { folder, port, process }
    }

    fn restart(&mut self) {
        self.kill();
        self.process = start_process(self.folder.path(), self.port);
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn config(&self) -> String {
        config("localhost", self.port, "")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// PgBouncer refuses to run as root, so root starts the process as the user `postgres`.
fn start_process(folder: &Path, port: u16) -> Child {
    let mut command = Command::new("pgbouncer");
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--clear-groups", "pgbouncer"]);
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("the mode of the folder");
    }
    command.arg(folder.join("settings")).stdout(Stdio::null()).stderr(Stdio::null());
    let process = command.spawn().expect("pgbouncer runs: apt-get install pgbouncer");
    wait_for("pgbouncer", 20, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    process
}

#[test]
fn in_session_mode_servers_share_defects_and_notice_changes() {
    let postgres = start_postgres();
    let pool = PgBouncer::start(&postgres, "session");
    let found = CommandFolder::new(&pool.config()).diagnose("database").expect("a finding");
    assert_eq!(found.0, "ok", "{found:?}");
    let start = || setup(&pool.config()).guests(["instant"]).start();
    let (a, b) = (start(), start());
    let connection = a.add_connection("qa", "instant", json!({}), json!({}));
    let test = failed_test();
    let created = a.create(&connection, &test).expect(200);
    let repeated = wait_for("the connection at the other server", 20, || {
        let answer = b.create(&connection, &test);
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(repeated.json(), created);
    assert_eq!(b.event_of(&repeated)["outcome"], "repeated");
    assert_pause_is_noticed(&b, &a, &connection);
    let has_listener = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'LISTEN %'";
    assert_eq!(postgres.query(has_listener), ["t"]);
    let home = CommandFolder::new(&pool.config()).with_password("pw-that-is-wrong-5506");
    home.assert_refused(&["refuses the user", "check `store_password`"]);
}

#[test]
fn transaction_mode_is_refused_and_doctor_recommends_session_mode() {
    let postgres = start_postgres();
    // A first server without PgBouncer creates the schema of the database.
    setup(&config("localhost", postgres.port(), "")).start().stop();
    for mode in ["transaction", "statement"] {
        let pool = PgBouncer::start(&postgres, mode);
        let home = CommandFolder::new(&pool.config());
        // PgBouncer keeps its sessions at PostgreSQL, so the second start gets sessions that the
        // first start has used.
        for _ in 0..2 {
            let refusal = home.start_refusal();
            let words = ["a pool in transaction mode", "let PgBouncer use session mode"];
            assert!(words.iter().all(|it| refusal.contains(it)), "{refusal}");
            let (status, found) = home.diagnose("database pool").expect("a finding");
            assert!(status == "fail" && found.contains("session mode"), "{found}");
        }
    }
}

#[test]
fn no_defect_is_lost_or_created_twice_while_a_pool_restarts_under_load() {
    let postgres = start_postgres();
    let mut pool = PgBouncer::start(&postgres, "session");
    let short_waits = "lease_ms = 2000\nsweep_ms = 500\n[create]\nin_doubt_s = 2\n[limits]\n\
                 run_ms = 4000\ncreate_answer_ms = 3000";
    let redmine = Guest::example("redmine");
    let setup = setup(&pool.config()).config(short_waits);
    let fixture = setup.start_with_redmine("redmine", &redmine, json!({}));
    fixture.click_while(CLICKS_PER_THREAD, |clicks| {
        for restart in 1..=RESTARTS {
            fixture.await_posts(restart * clicks / (RESTARTS + 1));
            pool.restart();
        }
    });
}
