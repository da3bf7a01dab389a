//! The server runs in a container with little memory, few threads or a small disk. Runs and
//! compiler processes must not make the kernel kill the server. A file whose compiler was killed is
//! not compiled again at each start.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use jackfield_tests::{
    Answer, Click, Guest, MemoryGroup, Reply, ScriptedServer, Setup, TestHost, binary, failed_test,
    wait_for,
};
use serde_json::json;

use crate::compile_limits::giant_functions;

const MIB: u64 = 1 << 20;

fn setup_in_group(group: &MemoryGroup) -> Setup {
    let enter = group.command_prefix();
    let enter: Vec<_> = enter.iter().map(String::as_str).collect();
    Setup::new().run_under(&enter)
}

/// Returns a component that needs much memory and time to compile.
fn compile_bomb() -> Guest {
    Guest::named("instant").with_module(&giant_functions(), 0)
}

/// `memory_bytes_host` is not set, so the runs may use the default share of the group's memory.
#[test]
fn the_server_refuses_runs_before_the_kernel_kills_it() {
    for limit in [512, 256] {
        fill_memory(&MemoryGroup::with_limit(limit * MIB));
    }
}

/// Starts runs until they fill the memory of this group. The server must refuse further runs, and
/// the kernel must not kill the server.
fn fill_memory(group: &MemoryGroup) {
    let config = "[limits]\ncpu_ms = 60000\n";
    let host = setup_in_group(group).config(config).guests(["hoard", "good"]).start();
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let good = host.add_connection("good", "good", json!({"url": tracker.url()}), json!({}));
    let connections = [16, 20, 24, 28].map(|fill| {
        let settings =
            json!({"url": tracker.url(), "what": "request", "fill": (fill * MIB).to_string()});
        host.add_connection(&format!("hoard {fill}"), "hoard", settings, json!({}))
    });
    let (mut served, mut refused) = (0, 0);
    for _ in 0..3 {
        let gate = tracker.hold_requests(|request| request.body.len() > 1_000);
        let clicks: Vec<_> = (0..8)
            .flat_map(|_| &connections)
            .map(|connection| host.create_in_background(connection, &failed_test()))
            .collect();
        wait_for("the first run to be refused", 60, || {
            clicks.iter().any(Click::is_finished).then_some(())
        });
        gate.open();
        let answers: Vec<Answer> = clicks.into_iter().map(Click::answer).collect();
        refused += answers.iter().filter(|answer| answer.status == 503).count();
        served += answers.iter().filter(|answer| answer.status == 200).count();
    }
    println!("{served} served, {refused} refused, {} MiB", host.resident_bytes() / MIB);
    assert!(served > 0 && refused > 0);
    assert_eq!(group.kills(), 0, "the kernel killed a process");
    host.create(&good, &failed_test()).assert_status(200);
}

#[test]
fn a_compiler_that_needs_too_much_memory_does_not_kill_the_container() {
    let group = MemoryGroup::with_limit(300 * MIB);
    let (host, connection) = setup_in_group(&group).start_with_guest("instant", json!({}));
    host.install("bomb", &compile_bomb());
    let connector = host.await_connector("bomb", "broken", None);
    let error = connector["error"].as_str().unwrap_or_default();
    assert!(error.contains("more memory") && error.contains("container"), "{error}");
    assert_eq!(group.kills(), 0, "the kernel killed a process");
    host.create(&connection, &failed_test()).assert_status(200);
    let enter = group.command_prefix();
    let output = Command::new(&enter[0])
        .args(&enter[1..])
        .arg(binary())
        .args(["doctor", "--data", "data"])
        .current_dir(host.folder())
        .output()
        .expect("the binary starts");
    let report = String::from_utf8_lossy(&output.stdout);
    let line = |check: &str| report.lines().find(|line| line.contains(check)).map(str::to_owned);
    assert!(line("limit is 300 MiB").is_some(), "{report}");
    assert!(line(" compiling  ").is_some_and(|line| line.contains("more memory")), "{report}");
}

#[test]
fn a_file_that_killed_its_compiler_is_not_compiled_again_at_each_start() {
    let config = "[connectors.bomb.limits]\ncompile_memory_bytes = 200_000_000\n";
    let mut host = Setup::new().config(config).start();
    host.install("bomb", &compile_bomb());
    host.await_connector("bomb", "broken", None);
    host.restart();
    let connector = host.await_connector("bomb", "broken", None);
    let error = connector["error"].as_str().unwrap_or_default();
    assert!(error.contains("compile_memory_bytes` = 200000000"), "{error}");
    assert!(
        error.contains("compiled again only with more time"),
        "the file was compiled again: {error}"
    );
    std::fs::write(host.folder().join("jackfield.toml"), "").expect("the file is written");
    host.restart();
    host.await_connector("bomb", "ready", Some(&compile_bomb().sha256()));
    assert_eq!(count_recorded_attempts(&host), 0, "the record of the attempt was not deleted");
}

/// If a container exceeds its memory, Kubernetes kills the server together with its compiler. At
/// the next start, a record shows that the server was killed while it compiled this file.
#[test]
fn a_file_that_killed_the_server_twice_is_not_compiled_again() {
    let mut host = Setup::new().start();
    host.install("bomb", &compile_bomb());
    for _ in 0..2 {
        wait_for("the compiler to run", 60, || (host.children() > 0).then_some(()));
        wait_for("the attempt to be recorded", 60, || {
            (count_recorded_attempts(&host) == 1).then_some(())
        });
        host.kill();
        host.restart();
    }
    let connector = host.await_connector("bomb", "broken", None);
    let error = connector["error"].as_str().unwrap_or_default();
    assert!(error.contains("killed 2 times") && error.contains(".attempt"), "{error}");
    assert_eq!(host.children(), 0);
    // If the server is stopped normally, the attempt does not count as failed, so the record of the
    // attempt is deleted.
    host.install("bomb", &compile_bomb().with_custom_section(2));
    wait_for("the compiler to run", 60, || (host.children() > 0).then_some(()));
    assert!(host.stop().success());
    assert_eq!(
        count_recorded_attempts(&host),
        1,
        "not only the attempt of the first file is recorded"
    );
}

fn count_recorded_attempts(host: &TestHost) -> usize {
    let entries = std::fs::read_dir(host.data("compiled")).expect("the folder").flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|it| it == "attempt")).count()
}

/// A full disk is a temporary problem, so the server tries to load the file again by itself.
#[test]
fn a_full_disk_is_named_and_the_file_is_loaded_when_there_is_room_again() {
    let mount = "mount -t tmpfs -o mode=700,size=24m tmpfs data && exec \"$@\"";
    let mut setup = Setup::new();
    setup = setup.run_under(&[
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-euc",
        mount,
        "sh",
    ]);
    let host = setup.start();
    // The path of the data folder inside the server's mount namespace.
    let data = std::path::PathBuf::from(format!("/proc/{}/cwd/data", host.process_id()));
    let large_file = data.join("ballast");
    let full = std::fs::write(&large_file, vec![1; 24 << 20]).expect_err("the disk is full");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    host.install("instant", &Guest::named("instant"));
    let connector = host.await_connector("instant", "broken", None);
    let error = connector["error"].as_str().unwrap_or_default();
    assert!(error.contains("No space left on device"), "{error}");
    std::fs::remove_file(&large_file).expect("the file is removed");
    host.await_connector("instant", "ready", None);
}

/// Simulates a container with a low `pids.max` by a limit on the processes of a user. The limit
/// does not apply to root, and counts all processes of the user. So if the test runs as root, the
/// server runs as a user without other processes.
#[test]
fn a_thread_limit_that_prevents_the_start_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("jackfield");
    std::fs::copy(binary(), &program).expect("the binary is copied");
    let wrapper = "chmod a+rwx . && exec prlimit --nproc=5";
    let is_root = rustix::process::geteuid().is_root();
    let as_user = if is_root { "setpriv --reuid 54321 --clear-groups" } else { "" };
    let prepare = &format!("{wrapper} {as_user} \"$@\"");
    let run_limited = |arguments: &[&str]| {
        let mut command = Command::new("timeout");
        command.args(["60", "sh", "-euc", prepare, "sh", "./jackfield"]).args(arguments);
        command.current_dir(folder.path()).output().expect("the binary starts")
    };
    let output = run_limited(&["serve", "--listen", "127.0.0.1:0"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    // The allocator may print one more line, if it cannot start its own thread.
    assert!(error.trim_end().lines().count() <= 2, "{error}");
    let error = error.lines().last().expect("a line");
    assert!(error.contains("threads") && error.contains("TasksMax"), "{error}");
    let doctor = run_limited(&["doctor"]);
    let report = String::from_utf8_lossy(&doctor.stdout);
    assert!(report.contains("TasksMax"), "{report}");
}

/// Runs the compiler process itself under limits that a service may have. The signal or the exit
/// code tells the server which limit ended the compiler.
#[test]
fn a_compiler_shows_which_limit_ended_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let compile = |limit: &str, guest: &Guest| {
        std::fs::write(folder.path().join("in"), &guest.bytes).expect("the file is written");
        let mut command = Command::new("prlimit");
        command.arg(limit).arg(binary());
        command.args(["compile-component", "in", "out", "4000000000", "120000"]);
        command.args(["reserved", "this-cpu"]);
        command.current_dir(folder.path()).env_clear().output().expect("the binary starts")
    };
    const SIGXCPU: i32 = 24;
    const SIGXFSZ: i32 = 25;
    assert_eq!(compile("--cpu=2", &compile_bomb()).status.signal(), Some(SIGXCPU));
    assert_eq!(compile("--fsize=1000", &Guest::named("instant")).status.signal(), Some(SIGXFSZ));
    assert!(compile("--nofile=64", &Guest::named("instant")).status.success());
    std::fs::remove_file(folder.path().join("out")).expect("the compiled code is removed");
    std::os::unix::fs::symlink("/dev/full", folder.path().join("out")).expect("a link");
    let on_full_disk = compile("--nofile=64", &Guest::named("instant"));
    assert_eq!(on_full_disk.status.code(), Some(3), "{on_full_disk:?}");
    assert!(
        String::from_utf8_lossy(&on_full_disk.stderr).contains("No space left"),
        "{on_full_disk:?}"
    );
}
