//! Several servers that share a PostgreSQL database have the same connectors: a change at one
//! server takes effect at all servers. A broken file is not shared.
//! With `plugins_source = "folder"`, each server uses its own files.

mod speed;

use std::fs;
use std::path::PathBuf;
use std::thread;

use jackfield_tests::{
    Answer, Connection, CuttableRelay, Guest, Postgres, Reply, ScriptedServer, Setup, TestHost,
    failed_test, wait_for,
};
use serde_json::{Value, json};

/// How many seconds it may take until a change takes effect at another server, if that server need
/// not compile a component.
const SHARE_MAX_S: u64 = 30;
/// How many seconds it may take until another server has compiled a component and uses it.
const SHARE_AND_COMPILE_MAX_S: u64 = 60;

fn guest_with_build(number: u32) -> Guest {
    Guest::named("instant").with_build(number)
}

fn start_two_servers(postgres: &Postgres) -> (TestHost, TestHost) {
    (postgres.server_setup().start(), postgres.server_setup().start())
}

/// Uploads this component or script as the connector `c`.
fn upload(host: &TestHost, guest: &Guest) -> Answer {
    host.admin().send("PUT", "/connectors/c", &[], &guest.bytes)
}

/// Returns the connector `c` as a server's admin API shows it, if the server has it.
fn shown_connector(host: &TestHost) -> Option<Value> {
    let answer = host.admin().get("/connectors/c");
    (answer.status == 200).then(|| answer.json())
}

#[track_caller]
fn await_version(host: &TestHost, guest: &Guest, within_s: u64) {
    let sha256 = guest.sha256();
    wait_for("the version of the other server", within_s, || {
        shown_connector(host).filter(|it| it["sha256"] == sha256 && it["status"] == "ready")
    });
}

#[track_caller]
fn await_removed(host: &TestHost, within_s: u64) {
    wait_for("the removal", within_s, || shown_connector(host).is_none().then_some(()));
}

#[track_caller]
fn roll_back(host: &TestHost) -> Value {
    host.admin().json("POST", "/connectors/c/rollback", &json!({})).expect(200)
}

/// Returns the name of the build with which a server answers a create.
#[track_caller]
fn serving_build(host: &TestHost, connection: &Connection) -> String {
    let defect = host.create(connection, &failed_test()).expect(200);
    defect["name"].as_str().expect("a name").to_owned()
}

/// Returns how many of its own changes of connectors a server has shared with the other servers.
fn count_shared_changes(host: &TestHost) -> usize {
    host.output().matches("a connector is shared with the other servers").count()
}

/// Returns the copies of replaced files in a server's plugins folder, sorted by content.
fn copies_of_replaced_files(host: &TestHost) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(host.folder().join("plugins")).expect("the folder");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let copies = files.filter(|it| it.extension().is_some_and(|it| it == "replaced"));
    let mut copies: Vec<_> = copies.map(|it| fs::read(it).expect("a copy")).collect();
    copies.sort();
    copies
}

fn script_path(host: &TestHost) -> PathBuf {
    host.folder().join("plugins/c.js")
}

#[test]
fn an_upload_or_a_rollback_at_one_server_takes_effect_at_all_servers() {
    let postgres = Postgres::start();
    let (a, b) = start_two_servers(&postgres);
    upload(&a, &guest_with_build(1)).assert_status(201);
    await_version(&b, &guest_with_build(1), SHARE_AND_COMPILE_MAX_S);
    assert_eq!(
        (count_shared_changes(&a), count_shared_changes(&b)),
        (1, 0),
        "a server shared again what it got from the store"
    );
    let connection = a.add_connection("qa", "c", json!({}), json!({}));
    b.await_connection("qa");
    assert_eq!(serving_build(&b, &connection), "build 1");

    upload(&b, &guest_with_build(2)).assert_status(200);
    await_version(&a, &guest_with_build(2), SHARE_AND_COMPILE_MAX_S);
    assert_eq!(serving_build(&a, &connection), "build 2");

    let rolled_back = roll_back(&a);
    assert_eq!(rolled_back["sha256"], guest_with_build(1).sha256(), "{rolled_back}");
    await_version(&b, &guest_with_build(1), SHARE_MAX_S);
    assert_eq!(serving_build(&b, &connection), "build 1");
    let rolled_forward = roll_back(&b);
    assert_eq!(rolled_forward["sha256"], guest_with_build(2).sha256(), "{rolled_forward}");
    await_version(&a, &guest_with_build(2), SHARE_MAX_S);
    assert_eq!(fs::read(a.plugin("c")).expect("the file"), guest_with_build(2).bytes);
    wait_for("two shared changes of each server", SHARE_MAX_S, || {
        ((count_shared_changes(&a), count_shared_changes(&b)) == (2, 2)).then_some(())
    });
    // Each server reports a moment later to the other servers which versions it has loaded.
    wait_for("no difference between the servers", SHARE_MAX_S, || {
        (!a.run_cli(&["doctor"]).1.contains("connectors of the servers")).then_some(())
    });
}

#[test]
fn a_file_in_one_folder_serves_at_all_servers_until_one_server_removes_it() {
    let postgres = Postgres::start();
    let (a, b) = start_two_servers(&postgres);
    a.install("c", &guest_with_build(1));
    await_version(&b, &guest_with_build(1), SHARE_AND_COMPILE_MAX_S);
    b.install("c", &guest_with_build(2));
    await_version(&a, &guest_with_build(2), SHARE_AND_COMPILE_MAX_S);

    let (removed, printed) = a.run_cli(&["connectors", "remove", "c"]);
    assert!(removed, "{printed}");
    await_removed(&b, SHARE_MAX_S);
    assert!(!a.plugin("c").exists() && !b.plugin("c").exists());
    assert_eq!(roll_back(&b)["sha256"], guest_with_build(2).sha256());
    await_version(&a, &guest_with_build(2), SHARE_MAX_S);

    fs::remove_file(b.plugin("c")).expect("the file is deleted");
    await_removed(&a, SHARE_MAX_S);
    assert!(!a.plugin("c").exists());
}

#[test]
fn a_plugins_folder_that_is_replaced_by_an_empty_folder_removes_no_connector() {
    let postgres = Postgres::start();
    let (a, b) = start_two_servers(&postgres);
    for (host, name) in [(&a, "c"), (&b, "d")] {
        host.replace(name, &guest_with_build(1));
    }
    await_version(&b, &guest_with_build(1), SHARE_AND_COMPILE_MAX_S);
    a.await_connector("d", "ready", None);
    // The folder becomes empty, as if its file system were unmounted.
    let plugins = a.folder().join("plugins");
    fs::rename(&plugins, a.folder().join("unmounted")).expect("the folder is renamed");
    fs::create_dir(&plugins).expect("an empty folder");
    wait_for("the files of the store", SHARE_MAX_S, || {
        (a.plugin("c").exists() && a.plugin("d").exists()).then_some(())
    });
    await_version(&a, &guest_with_build(1), SHARE_AND_COMPILE_MAX_S);
    for name in ["c", "d"] {
        b.await_connector(name, "ready", Some(&guest_with_build(1).sha256()));
    }
}

#[test]
fn a_script_replaces_a_component_at_all_servers() {
    const SCRIPT: &str = "export const plugin = {
  describe: () => ({ name: 'Counts', version: '1.0.0', summary: '', settings: '{\"type\":\"object\"}' }),
  check: () => 'ready',
  choices: () => ({ choices: [], more: false }),
};
export const kpis = { count: () => ({ open: 7, closed: 0, critical: 0, moderate: 0 }) };
";
    let postgres = Postgres::start();
    let (a, b) = start_two_servers(&postgres);
    upload(&a, &guest_with_build(1)).assert_status(201);
    await_version(&b, &guest_with_build(1), SHARE_AND_COMPILE_MAX_S);
    let script = Guest { bytes: SCRIPT.into() };
    upload(&a, &script).assert_status(200);
    await_version(&b, &script, SHARE_AND_COMPILE_MAX_S);
    assert!(script_path(&b).exists() && !b.plugin("c").exists());
    roll_back(&b);
    await_version(&a, &guest_with_build(1), SHARE_MAX_S);
    assert!(!script_path(&a).exists() && a.plugin("c").exists());
}

#[test]
fn a_broken_file_is_not_shared_and_the_next_usable_file_replaces_it() {
    let postgres = Postgres::start();
    let (mut a, b) = start_two_servers(&postgres);
    upload(&a, &guest_with_build(1)).assert_status(201);
    await_version(&b, &guest_with_build(1), SHARE_AND_COMPILE_MAX_S);
    fs::write(a.plugin("c"), "no component").expect("the file is written");
    a.await_connector("c", "broken", Some(&guest_with_build(1).sha256()));
    // Another connector reaches the other server, but the broken file does not.
    a.install("other", &guest_with_build(3));
    b.await_connector("other", "ready", Some(&guest_with_build(3).sha256()));
    let unchanged = b.await_connector("c", "ready", Some(&guest_with_build(1).sha256()));
    assert_eq!(unchanged["error"], Value::Null, "{unchanged}");

    upload(&b, &guest_with_build(2)).assert_status(200);
    await_version(&a, &guest_with_build(2), SHARE_AND_COMPILE_MAX_S);
    assert_eq!(copies_of_replaced_files(&a), [b"no component"]);

    // A restart replaces a broken file with the file of the store.
    a.stop();
    fs::write(a.plugin("c"), "no component again").expect("the file is written");
    a.restart();
    await_version(&a, &guest_with_build(2), SHARE_AND_COMPILE_MAX_S);
    assert_eq!(copies_of_replaced_files(&a), [&b"no component"[..], b"no component again"]);
}

#[test]
fn a_dangling_link_removes_the_connector_at_no_server() {
    let postgres = Postgres::start();
    let (a, b) = start_two_servers(&postgres);
    upload(&a, &guest_with_build(1)).assert_status(201);
    await_version(&b, &guest_with_build(1), SHARE_AND_COMPILE_MAX_S);
    let moved_file = a.folder().join("away.wasm");
    fs::rename(a.plugin("c"), &moved_file).expect("the file is moved");
    std::os::unix::fs::symlink(a.folder().join("nothing"), a.folder().join("link"))
        .expect("a link");
    fs::rename(a.folder().join("link"), a.plugin("c")).expect("the link is moved");
    a.await_connector("c", "broken", Some(&guest_with_build(1).sha256()));
    // The other server has received a later change from the server with the link, so it would also
    // have received a removal.
    a.install("other", &guest_with_build(3));
    b.await_connector("other", "ready", Some(&guest_with_build(3).sha256()));
    b.await_connector("c", "ready", Some(&guest_with_build(1).sha256()));
    assert!(a.plugin("c").is_symlink(), "the link was replaced before the connector was changed");
    upload(&b, &guest_with_build(2)).assert_status(200);
    await_version(&a, &guest_with_build(2), SHARE_AND_COMPILE_MAX_S);
}

#[test]
fn a_rollback_right_after_an_upload_restores_the_version_before_the_upload() {
    let postgres = Postgres::start();
    let (a, b) = start_two_servers(&postgres);
    for (number, status) in [(1, 201), (2, 200)] {
        upload(&a, &guest_with_build(number)).assert_status(status);
        await_version(&b, &guest_with_build(number), SHARE_AND_COMPILE_MAX_S);
    }
    upload(&a, &guest_with_build(3)).assert_status(200);
    // The other server may not have compiled the uploaded version yet.
    assert_eq!(roll_back(&b)["sha256"], guest_with_build(2).sha256());
    await_version(&a, &guest_with_build(2), SHARE_MAX_S);
}

#[test]
fn a_connector_that_is_used_is_not_removed_by_a_server_that_does_not_have_it() {
    let postgres = Postgres::start();
    let a = postgres.server_setup().start();
    let b = postgres.server_setup().config("[limits]\ncomponent_bytes = 1000").start();
    upload(&a, &guest_with_build(1)).assert_status(201);
    let _ = a.add_connection("qa", "c", json!({}), json!({}));
    b.await_connection("qa");
    assert!(shown_connector(&b).is_none(), "the server has loaded a file that is too large");
    b.admin().send("DELETE", "/connectors/c", &[], b"").assert_problem(409, "conflict");
    assert!(a.plugin("c").exists());
}

#[test]
fn if_two_servers_get_different_files_at_the_same_time_both_use_the_same_file_afterwards() {
    let postgres = Postgres::start();
    let (a, b) = start_two_servers(&postgres);
    for round in 0..3 {
        let builds = [guest_with_build(10 * round + 1), guest_with_build(10 * round + 2)];
        thread::scope(|scope| {
            for (host, guest) in [&a, &b].into_iter().zip(&builds) {
                scope.spawn(move || host.install("c", guest));
            }
        });
        let versions = builds.each_ref().map(Guest::sha256);
        let common_version =
            wait_for("one version at both servers", SHARE_AND_COMPILE_MAX_S, || {
                let version_in_use = |host: &TestHost| {
                    let connector = shown_connector(host).filter(|it| it["status"] == "ready")?;
                    let sha256 = connector["sha256"].as_str()?.to_owned();
                    let file = fs::read(host.plugin("c")).ok()?;
                    (versions.contains(&sha256) && Guest { bytes: file }.sha256() == sha256)
                        .then_some(sha256)
                };
                let (version_at_a, version_at_b) = (version_in_use(&a)?, version_in_use(&b)?);
                (version_at_a == version_at_b).then_some(version_at_a)
            });
        // If the servers had not agreed, one of them would replace this third version again.
        let third_version = guest_with_build(100 + round);
        upload(&a, &third_version).assert_status(200);
        await_version(&b, &third_version, SHARE_AND_COMPILE_MAX_S);
        assert_eq!(
            roll_back(&b)["sha256"],
            common_version,
            "the rollback did not restore the version that both servers used"
        );
        await_version(
            &a,
            &Guest { bytes: fs::read(b.plugin("c")).expect("the file") },
            SHARE_MAX_S,
        );
    }
}

#[test]
fn a_server_that_starts_later_has_all_connectors_and_their_versions() {
    let postgres = Postgres::start();
    let mut a = postgres
        .server_setup()
        .plugin("c", &guest_with_build(1))
        .plugin("d", &guest_with_build(2))
        .start();
    upload(&a, &guest_with_build(3)).assert_status(200);
    a.install("gone", &guest_with_build(4));
    a.await_connector("gone", "ready", None);
    wait_for("the connector to be shared", SHARE_MAX_S, || {
        (count_shared_changes(&a) == 4).then_some(())
    });
    a.admin().send("DELETE", "/connectors/gone", &[], b"").assert_status(204);

    // The new server has an old folder: the store has other versions of `c`, has removed `gone`,
    // and never had `own`.
    let setup = postgres.server_setup().plugin("own", &guest_with_build(5));
    let b = setup
        .plugin_that_may_be_replaced("c", &guest_with_build(6))
        .plugin_that_may_be_replaced("gone", &guest_with_build(4))
        .start();
    await_version(&b, &guest_with_build(3), SHARE_AND_COMPILE_MAX_S);
    b.await_connector("d", "ready", Some(&guest_with_build(2).sha256()));
    assert_eq!(b.admin().get("/connectors/gone").status, 404);
    a.await_connector("own", "ready", Some(&guest_with_build(5).sha256()));
    assert!(
        copies_of_replaced_files(&b).contains(&guest_with_build(6).bytes),
        "no copy of the replaced file"
    );
    let versions = shown_connector(&b).expect("the connector")["versions"].clone();
    assert_eq!(versions[1]["sha256"], guest_with_build(1).sha256(), "{versions}");
    assert_eq!(roll_back(&b)["sha256"], guest_with_build(1).sha256());
    await_version(&a, &guest_with_build(1), SHARE_MAX_S);

    // While a server is stopped, the other server works without it.
    a.stop();
    upload(&b, &guest_with_build(7)).assert_status(200);
    a.restart();
    await_version(&a, &guest_with_build(7), SHARE_AND_COMPILE_MAX_S);
}

#[test]
fn a_stored_file_that_does_not_match_its_hash_is_not_installed() {
    let postgres = Postgres::start();
    let (a, mut b) = start_two_servers(&postgres);
    upload(&a, &guest_with_build(1)).assert_status(201);
    await_version(&b, &guest_with_build(1), SHARE_AND_COMPILE_MAX_S);
    b.stop();
    upload(&a, &guest_with_build(2)).assert_status(200);
    let sha256 = guest_with_build(2).sha256();
    postgres.query(&format!(
        "UPDATE connector_parts SET content = '\\x00' WHERE sha256 = '{sha256}';
         INSERT INTO connectors VALUES ('../c', 1000, FALSE);
         INSERT INTO connector_versions VALUES ('../c', '{sha256}', FALSE, 1, 1000, 0)"
    ));
    b.restart();
    wait_for("the log line", SHARE_MAX_S, || {
        b.output().contains("the store does not have the file").then_some(())
    });
    await_version(&b, &guest_with_build(1), SHARE_AND_COMPILE_MAX_S);
    assert!(!b.folder().join("c.wasm").exists(), "a file was written outside the plugins folder");
    // The next upload takes effect again.
    upload(&a, &guest_with_build(3)).assert_status(200);
    await_version(&b, &guest_with_build(3), SHARE_AND_COMPILE_MAX_S);
}

#[test]
fn a_consent_at_one_server_takes_effect_at_all_servers_and_a_new_server_has_the_accepted_version() {
    let build_with_more_grants = |number| Guest::named("asks-more").with_build(number);
    let postgres = Postgres::start();
    let a = postgres.server_setup().plugin("c", &build_with_more_grants(1)).start();
    let tracker = ScriptedServer::start(|_| Reply::created(7));
    let settings = json!({"url": tracker.url()});
    let connection = a.add_connection("qa", "c", settings, json!({"key": "k3y-of-qa"}));
    upload(&a, &build_with_more_grants(2)).assert_status(200);
    assert_eq!(serving_build(&a, &connection), "build 1");

    let b = postgres.server_setup().start();
    await_version(&b, &build_with_more_grants(2), SHARE_AND_COMPILE_MAX_S);
    wait_for("the accepted version", SHARE_AND_COMPILE_MAX_S, || {
        let created = b.create(&connection, &failed_test());
        (created.status == 200).then(|| assert_eq!(created.json()["name"], "build 1"))
    });
    let path = format!("/connections/qa/accept?sha256={}", build_with_more_grants(2).sha256());
    b.admin().json("POST", &path, &json!({})).assert_status(200);
    wait_for("the consent at the other server", SHARE_MAX_S, || {
        (serving_build(&a, &connection) == "build 2").then_some(())
    });
}

#[test]
fn a_change_during_a_database_outage_reaches_the_other_servers_later() {
    let postgres = Postgres::start();
    let relay = CuttableRelay::to_port(postgres.port());
    let short_times = "store_statement_s = 1\nstore_connect_s = 1";
    let a = postgres.server_setup_at(relay.port()).config(short_times).start();
    let b = postgres.server_setup().start();
    upload(&b, &guest_with_build(1)).assert_status(201);
    await_version(&a, &guest_with_build(1), SHARE_AND_COMPILE_MAX_S);
    relay.cut();
    a.install("c", &guest_with_build(2));
    // The admin API needs the database to show one connector, but not to list all connectors.
    wait_for("the version to serve", SHARE_AND_COMPILE_MAX_S, || {
        let listed = a.admin().get("/connectors").expect(200);
        (listed["connectors"][0]["sha256"] == guest_with_build(2).sha256()).then_some(())
    });
    relay.restore();
    await_version(&b, &guest_with_build(2), SHARE_AND_COMPILE_MAX_S);
}

#[test]
fn with_folders_as_the_source_different_versions_at_two_servers_are_reported() {
    let postgres = Postgres::start();
    let setup = || postgres.server_setup().config("plugins_source = \"folder\"");
    let a = setup().plugin("c", &guest_with_build(1)).start();
    let mut b = setup().plugin("c", &guest_with_build(1)).start();
    let differences = || {
        let status = a.admin().get("/status").expect(200);
        status["connector_differences"].as_array().cloned().expect("a list")
    };
    upload(&b, &guest_with_build(2)).assert_status(200);
    let difference = wait_for("the difference", SHARE_MAX_S, || differences().into_iter().next());
    assert_eq!(difference["name"], "c", "{difference}");
    let servers = difference["servers"].as_array().expect("a list");
    let versions: Vec<_> = servers.iter().filter_map(|it| it["sha256"].as_str()).collect();
    assert!(versions.contains(&guest_with_build(1).sha256().as_str()), "{difference}");
    assert!(versions.contains(&guest_with_build(2).sha256().as_str()), "{difference}");
    assert_eq!(fs::read(a.plugin("c")).expect("the file"), guest_with_build(1).bytes);

    let (_, printed) = a.run_cli(&["doctor"]);
    let line = printed.lines().find(|line| line.contains("connectors of the servers"));
    assert!(
        line.is_some_and(|line| line.contains(&guest_with_build(2).sha256()[..12])),
        "{printed}"
    );
    let difference_count = a.metrics(a.admin_token()).sum("jackfield_connector_differences", &[]);
    assert_eq!(difference_count, Some(1.0));
    let limited = json!({"name": "limited", "role": "viewer", "connections": ["qa"]});
    let _ = a.add_connection("qa", "c", json!({}), json!({}));
    let limited = a.admin().json("POST", "/tokens", &limited).expect(201);
    let limited = a.api_as(limited["token"].as_str().expect("a token"));
    let status = limited.get("/status").expect(200);
    assert_eq!(
        status["connector_differences"],
        json!([]),
        "a limited account sees differences of other connections"
    );

    a.install("c", &guest_with_build(2));
    wait_for("no difference", SHARE_MAX_S, || differences().is_empty().then_some(()));

    upload(&b, &guest_with_build(3)).assert_status(200);
    wait_for("another difference", SHARE_MAX_S, || differences().into_iter().next());
    b.stop();
    assert!(differences().is_empty(), "a server that has ended still counts");
}

#[test]
fn with_sqlite_the_store_cannot_be_the_source() {
    let mut host = Setup::new().start();
    host.set_env("JACKFIELD_PLUGINS_SOURCE", "store");
    let error = host.start_refusal();
    assert!(error.contains("needs a database that servers share"), "{error}");
    assert!(error.contains("`store`"), "{error}");
    host.set_env("JACKFIELD_PLUGINS_SOURCE", "folder");
    host.restart();
}
