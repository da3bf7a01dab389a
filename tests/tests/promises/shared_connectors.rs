//! Several servers on one PostgreSQL have the same connectors: an upload, a file in one plugins
//! folder, a roll back, a removal and a consent are one decision for all. A broken file stays where
//! it is. With `plugins_source = "folder"`, each server has its own files, and differences are
//! reported.

mod speed;

use std::fs;
use std::path::PathBuf;
use std::thread;

use jackfield_tests::{
    Answer, Cable, Connection, Guest, Postgres, Reply, ScriptedServer, Setup, TestHost,
    failed_test, wait_for,
};
use serde_json::{Value, json};

/// How long a decision needs at most until it holds at the other servers, without the compiler.
const SHARED_S: u64 = 30;
/// How long a connector of another server needs until it serves, with the compiler.
const COMPILED_S: u64 = 60;

fn build(number: u32) -> Guest {
    Guest::named("instant").with_build(number)
}

fn two(postgres: &Postgres) -> (TestHost, TestHost) {
    (postgres.replica().start(), postgres.replica().start())
}

fn upload(host: &TestHost, guest: &Guest) -> Answer {
    host.admin().send("PUT", "/connectors/c", &[], &guest.bytes)
}

fn shown(host: &TestHost) -> Option<Value> {
    let answer = host.admin().get("/connectors/c");
    (answer.status == 200).then(|| answer.json())
}

/// Waits until a server uses this version.
#[track_caller]
fn await_version(host: &TestHost, guest: &Guest, within_s: u64) {
    let sha256 = guest.sha256();
    wait_for("the version of the other server", within_s, || {
        shown(host).filter(|it| it["sha256"] == sha256 && it["status"] == "ready")
    });
}

#[track_caller]
fn await_removed(host: &TestHost, within_s: u64) {
    wait_for("the removal", within_s, || shown(host).is_none().then_some(()));
}

#[track_caller]
fn roll_back(host: &TestHost) -> Value {
    host.admin().json("POST", "/connectors/c/rollback", &json!({})).expect(200)
}

/// The number of the build with which a server answers an event.
#[track_caller]
fn served(host: &TestHost, connection: &Connection) -> String {
    let defect = host.create(connection, &failed_test()).expect(200);
    defect["name"].as_str().expect("a name").to_owned()
}

/// How often a server has shared a file.
fn shares(host: &TestHost) -> usize {
    host.output().matches("a connector is shared with the other servers").count()
}

/// The copies of replaced files of a connector, in the order of their contents.
fn copies(host: &TestHost) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(host.folder().join("plugins")).expect("the folder");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let copies = files.filter(|it| it.extension().is_some_and(|it| it == "replaced"));
    let mut copies: Vec<_> = copies.map(|it| fs::read(it).expect("a copy")).collect();
    copies.sort();
    copies
}

fn script(host: &TestHost) -> PathBuf {
    host.folder().join("plugins/c.js")
}

#[test]
fn an_upload_at_one_server_serves_at_all_and_a_roll_back_at_another_holds_too() {
    let postgres = Postgres::start();
    let (a, b) = two(&postgres);
    upload(&a, &build(1)).assert_status(201);
    await_version(&b, &build(1), COMPILED_S);
    assert_eq!((shares(&a), shares(&b)), (1, 0), "what came from the store was shared again");
    let connection = a.connect("qa", "c", json!({}), json!({}));
    b.await_connection("qa");
    assert_eq!(served(&b, &connection), "build 1");

    upload(&b, &build(2)).assert_status(200);
    await_version(&a, &build(2), COMPILED_S);
    assert_eq!(served(&a, &connection), "build 2");

    let back = roll_back(&a);
    assert_eq!(back["sha256"], build(1).sha256(), "{back}");
    await_version(&b, &build(1), SHARED_S);
    assert_eq!(served(&b, &connection), "build 1");
    let forward = roll_back(&b);
    assert_eq!(forward["sha256"], build(2).sha256(), "{forward}");
    await_version(&a, &build(2), SHARED_S);
    assert_eq!(fs::read(a.plugin("c")).expect("the file"), build(2).bytes);
    wait_for("two decisions of each", SHARED_S, || {
        ((shares(&a), shares(&b)) == (2, 2)).then_some(())
    });
    // Each server tells the others a moment later what it has loaded.
    wait_for("no difference between the servers", SHARED_S, || {
        (!a.run_cli(&["doctor"]).1.contains("connectors of the servers")).then_some(())
    });
}

#[test]
fn a_file_in_one_folder_serves_at_all_until_it_is_deleted_or_removed_at_one() {
    let postgres = Postgres::start();
    let (a, b) = two(&postgres);
    a.install("c", &build(1));
    await_version(&b, &build(1), COMPILED_S);
    b.install("c", &build(2));
    await_version(&a, &build(2), COMPILED_S);

    let (removed, printed) = a.run_cli(&["connectors", "remove", "c"]);
    assert!(removed, "{printed}");
    await_removed(&b, SHARED_S);
    assert!(!a.plugin("c").exists() && !b.plugin("c").exists());
    assert_eq!(roll_back(&b)["sha256"], build(2).sha256());
    await_version(&a, &build(2), SHARED_S);

    fs::remove_file(b.plugin("c")).expect("the file is deleted");
    await_removed(&a, SHARED_S);
    assert!(!a.plugin("c").exists());
}

#[test]
fn a_folder_that_is_replaced_by_an_empty_one_removes_nothing() {
    let postgres = Postgres::start();
    let (a, b) = two(&postgres);
    for (host, name) in [(&a, "c"), (&b, "d")] {
        host.replace(name, &build(1));
    }
    await_version(&b, &build(1), COMPILED_S);
    a.await_connector("d", "ready", None);
    // As a file system that is not mounted any more.
    let plugins = a.folder().join("plugins");
    fs::rename(&plugins, a.folder().join("unmounted")).expect("the folder is renamed");
    fs::create_dir(&plugins).expect("an empty folder");
    wait_for("the files of the store", SHARED_S, || {
        (a.plugin("c").exists() && a.plugin("d").exists()).then_some(())
    });
    await_version(&a, &build(1), COMPILED_S);
    for name in ["c", "d"] {
        b.await_connector(name, "ready", Some(&build(1).sha256()));
    }
}

#[test]
fn a_script_that_replaces_a_component_does_so_at_all_servers() {
    const SCRIPT: &str = "export const plugin = {
  describe: () => ({ name: 'Counts', version: '1.0.0', summary: '', settings: '{\"type\":\"object\"}' }),
  check: () => 'ready',
  choices: () => ({ choices: [], more: false }),
};
export const kpis = { count: () => ({ open: 7, closed: 0, critical: 0, moderate: 0 }) };
";
    let postgres = Postgres::start();
    let (a, b) = two(&postgres);
    upload(&a, &build(1)).assert_status(201);
    await_version(&b, &build(1), COMPILED_S);
    let counts = Guest { bytes: SCRIPT.into() };
    upload(&a, &counts).assert_status(200);
    await_version(&b, &counts, COMPILED_S);
    assert!(script(&b).exists() && !b.plugin("c").exists());
    roll_back(&b);
    await_version(&a, &build(1), SHARED_S);
    assert!(!script(&a).exists() && a.plugin("c").exists());
}

#[test]
fn a_broken_file_is_not_shared_and_the_next_good_one_replaces_it() {
    let postgres = Postgres::start();
    let (mut a, b) = two(&postgres);
    upload(&a, &build(1)).assert_status(201);
    await_version(&b, &build(1), COMPILED_S);
    fs::write(a.plugin("c"), "no component").expect("the file is written");
    a.await_connector("c", "broken", Some(&build(1).sha256()));
    // Another decision reaches the other server; the broken file does not.
    a.install("other", &build(3));
    b.await_connector("other", "ready", Some(&build(3).sha256()));
    let unchanged = b.await_connector("c", "ready", Some(&build(1).sha256()));
    assert_eq!(unchanged["error"], Value::Null, "{unchanged}");

    upload(&b, &build(2)).assert_status(200);
    await_version(&a, &build(2), COMPILED_S);
    assert_eq!(copies(&a), [b"no component"]);

    // After a restart, the file of the store replaces a broken one.
    a.stop();
    fs::write(a.plugin("c"), "no component again").expect("the file is written");
    a.restart();
    await_version(&a, &build(2), COMPILED_S);
    assert_eq!(copies(&a), [&b"no component"[..], b"no component again"]);
}

#[test]
fn a_link_to_nothing_removes_the_connector_nowhere() {
    let postgres = Postgres::start();
    let (a, b) = two(&postgres);
    upload(&a, &build(1)).assert_status(201);
    await_version(&b, &build(1), COMPILED_S);
    let away = a.folder().join("away.wasm");
    fs::rename(a.plugin("c"), &away).expect("the file is moved");
    std::os::unix::fs::symlink(a.folder().join("nothing"), a.folder().join("link"))
        .expect("a link");
    fs::rename(a.folder().join("link"), a.plugin("c")).expect("the link is moved");
    a.await_connector("c", "broken", Some(&build(1).sha256()));
    // A later decision has passed through the mirror of the server with the link.
    a.install("other", &build(3));
    b.await_connector("other", "ready", Some(&build(3).sha256()));
    b.await_connector("c", "ready", Some(&build(1).sha256()));
    assert!(a.plugin("c").is_symlink(), "the link was replaced without a decision");
    upload(&b, &build(2)).assert_status(200);
    await_version(&a, &build(2), COMPILED_S);
}

#[test]
fn a_roll_back_right_after_a_decision_leads_to_the_version_before_it() {
    let postgres = Postgres::start();
    let (a, b) = two(&postgres);
    for (number, status) in [(1, 201), (2, 200)] {
        upload(&a, &build(number)).assert_status(status);
        await_version(&b, &build(number), COMPILED_S);
    }
    upload(&a, &build(3)).assert_status(200);
    // The other server may not have compiled it yet.
    assert_eq!(roll_back(&b)["sha256"], build(2).sha256());
    await_version(&a, &build(2), SHARED_S);
}

#[test]
fn a_connector_that_is_used_is_not_removed_by_a_server_that_does_not_have_it() {
    let postgres = Postgres::start();
    let a = postgres.replica().start();
    let b = postgres.replica().config("[limits]\ncomponent_bytes = 1000").start();
    upload(&a, &build(1)).assert_status(201);
    let _ = a.connect("qa", "c", json!({}), json!({}));
    b.await_connection("qa");
    assert!(shown(&b).is_none(), "the file is too large for it");
    b.admin().send("DELETE", "/connectors/c", &[], b"").assert_problem(409, "conflict");
    assert!(a.plugin("c").exists());
}

#[test]
fn different_files_at_the_same_time_become_one_at_all_servers() {
    let postgres = Postgres::start();
    let (a, b) = two(&postgres);
    for round in 0..3 {
        let builds = [build(10 * round + 1), build(10 * round + 2)];
        thread::scope(|scope| {
            for (host, guest) in [&a, &b].into_iter().zip(&builds) {
                scope.spawn(move || host.install("c", guest));
            }
        });
        let versions = builds.each_ref().map(Guest::sha256);
        let agreed = wait_for("one version at both servers", COMPILED_S, || {
            let of = |host: &TestHost| {
                let now = shown(host).filter(|it| it["status"] == "ready")?;
                let sha256 = now["sha256"].as_str()?.to_owned();
                let file = fs::read(host.plugin("c")).ok()?;
                (versions.contains(&sha256) && Guest { bytes: file }.sha256() == sha256)
                    .then_some(sha256)
            };
            let (of_a, of_b) = (of(&a)?, of(&b)?);
            (of_a == of_b).then_some(of_a)
        });
        // A third decision comes after both: if they had not agreed, it would not be the only one.
        let other = build(100 + round);
        upload(&a, &other).assert_status(200);
        await_version(&b, &other, COMPILED_S);
        assert_eq!(roll_back(&b)["sha256"], agreed, "the version that both used before");
        await_version(&a, &Guest { bytes: fs::read(b.plugin("c")).expect("the file") }, SHARED_S);
    }
}

#[test]
fn a_server_that_starts_later_has_all_connectors_and_their_versions() {
    let postgres = Postgres::start();
    let mut a = postgres.replica().plugin("c", &build(1)).plugin("d", &build(2)).start();
    upload(&a, &build(3)).assert_status(200);
    a.install("gone", &build(4));
    a.await_connector("gone", "ready", None);
    wait_for("the connector to be shared", SHARED_S, || (shares(&a) == 4).then_some(()));
    a.admin().send("DELETE", "/connectors/gone", &[], b"").assert_status(204);

    // A folder of an earlier time: the store knows `c` and `gone`, and never knew `own`.
    let setup = postgres.replica().plugin("own", &build(5));
    let b = setup
        .plugin_that_may_be_replaced("c", &build(6))
        .plugin_that_may_be_replaced("gone", &build(4))
        .start();
    await_version(&b, &build(3), COMPILED_S);
    b.await_connector("d", "ready", Some(&build(2).sha256()));
    assert_eq!(b.admin().get("/connectors/gone").status, 404);
    a.await_connector("own", "ready", Some(&build(5).sha256()));
    assert!(copies(&b).contains(&build(6).bytes), "no copy of the replaced file");
    let versions = shown(&b).expect("the connector")["versions"].clone();
    assert_eq!(versions[1]["sha256"], build(1).sha256(), "{versions}");
    assert_eq!(roll_back(&b)["sha256"], build(1).sha256());
    await_version(&a, &build(1), SHARED_S);

    // While a server does not run, the others go on without it.
    a.stop();
    upload(&b, &build(7)).assert_status(200);
    a.restart();
    await_version(&a, &build(7), COMPILED_S);
}

#[test]
fn a_file_whose_content_is_not_that_of_its_hash_is_not_installed() {
    let postgres = Postgres::start();
    let (a, mut b) = two(&postgres);
    upload(&a, &build(1)).assert_status(201);
    await_version(&b, &build(1), COMPILED_S);
    b.stop();
    upload(&a, &build(2)).assert_status(200);
    let sha256 = build(2).sha256();
    postgres.query(&format!(
        "UPDATE connector_parts SET content = '\\x00' WHERE sha256 = '{sha256}';
         INSERT INTO connectors VALUES ('../c', 1000, FALSE);
         INSERT INTO connector_versions VALUES ('../c', '{sha256}', FALSE, 1, 1000, 0)"
    ));
    b.restart();
    wait_for("the log line", SHARED_S, || {
        b.output().contains("the store does not have the file").then_some(())
    });
    await_version(&b, &build(1), COMPILED_S);
    assert!(!b.folder().join("c.wasm").exists(), "a name that leads out of the folder was used");
    // The next decision holds again.
    upload(&a, &build(3)).assert_status(200);
    await_version(&b, &build(3), COMPILED_S);
}

#[test]
fn a_consent_at_one_server_holds_at_all_and_a_new_server_has_the_version_before() {
    let more = |number| Guest::named("asks-more").with_build(number);
    let postgres = Postgres::start();
    let a = postgres.replica().plugin("c", &more(1)).start();
    let tracker = ScriptedServer::start(|_| Reply::created(7));
    let settings = json!({"url": tracker.url()});
    let connection = a.connect("qa", "c", settings, json!({"key": "k3y-of-qa"}));
    upload(&a, &more(2)).assert_status(200);
    assert_eq!(served(&a, &connection), "build 1");

    let b = postgres.replica().start();
    await_version(&b, &more(2), COMPILED_S);
    wait_for("the accepted version", COMPILED_S, || {
        let created = b.create(&connection, &failed_test());
        (created.status == 200).then(|| assert_eq!(created.json()["name"], "build 1"))
    });
    let path = format!("/connections/qa/accept?sha256={}", more(2).sha256());
    b.admin().json("POST", &path, &json!({})).assert_status(200);
    wait_for("the consent at the other server", SHARED_S, || {
        (served(&a, &connection) == "build 2").then_some(())
    });
}

#[test]
fn a_change_while_the_database_is_away_reaches_the_others_later() {
    let postgres = Postgres::start();
    let cable = Cable::to(postgres.port());
    let short = "store_statement_s = 1\nstore_connect_s = 1";
    let a = postgres.replica_at(cable.port()).config(short).start();
    let b = postgres.replica().start();
    upload(&b, &build(1)).assert_status(201);
    await_version(&a, &build(1), COMPILED_S);
    cable.cut();
    a.install("c", &build(2));
    // One connector is shown with data of the database; the list is not.
    wait_for("the version to serve", COMPILED_S, || {
        let listed = a.admin().get("/connectors").expect(200);
        (listed["connectors"][0]["sha256"] == build(2).sha256()).then_some(())
    });
    cable.restore();
    await_version(&b, &build(2), COMPILED_S);
}

#[test]
fn with_folders_as_the_source_a_difference_is_reported() {
    let postgres = Postgres::start();
    let setup = || postgres.replica().config("plugins_source = \"folder\"");
    let a = setup().plugin("c", &build(1)).start();
    let mut b = setup().plugin("c", &build(1)).start();
    let differences = || {
        let status = a.admin().get("/status").expect(200);
        status["connector_differences"].as_array().cloned().expect("a list")
    };
    upload(&b, &build(2)).assert_status(200);
    let found = wait_for("the difference", SHARED_S, || differences().into_iter().next());
    assert_eq!(found["name"], "c", "{found}");
    let servers = found["servers"].as_array().expect("a list");
    let versions: Vec<_> = servers.iter().filter_map(|it| it["sha256"].as_str()).collect();
    assert!(versions.contains(&build(1).sha256().as_str()), "{found}");
    assert!(versions.contains(&build(2).sha256().as_str()), "{found}");
    assert_eq!(fs::read(a.plugin("c")).expect("the file"), build(1).bytes);

    let (_, printed) = a.run_cli(&["doctor"]);
    let line = printed.lines().find(|line| line.contains("connectors of the servers"));
    assert!(line.is_some_and(|line| line.contains(&build(2).sha256()[..12])), "{printed}");
    let different = a.metrics(a.admin_token()).sum("jackfield_connector_differences", &[]);
    assert_eq!(different, Some(1.0));
    let limited = json!({"name": "limited", "role": "viewer", "connections": ["qa"]});
    let _ = a.connect("qa", "c", json!({}), json!({}));
    let limited = a.admin().json("POST", "/tokens", &limited).expect(201);
    let limited = a.api_as(limited["token"].as_str().expect("a token"));
    let status = limited.get("/status").expect(200);
    assert_eq!(status["connector_differences"], json!([]), "it sees the other servers");

    a.install("c", &build(2));
    wait_for("no difference", SHARED_S, || differences().is_empty().then_some(()));

    upload(&b, &build(3)).assert_status(200);
    wait_for("another difference", SHARED_S, || differences().into_iter().next());
    b.stop();
    assert!(differences().is_empty(), "a server that has ended still counts");
}

#[test]
fn a_sqlite_file_cannot_be_the_source() {
    let mut host = Setup::new().start();
    host.set_env("JACKFIELD_PLUGINS_SOURCE", "store");
    let error = host.refuses_to_start();
    assert!(error.contains("needs a database that servers share"), "{error}");
    assert!(error.contains("`store`"), "{error}");
    host.set_env("JACKFIELD_PLUGINS_SOURCE", "folder");
    host.restart();
}
