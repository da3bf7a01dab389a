//! Some platforms restrict a server or change its files, for example by mount options or small
//! address spaces. The server works there, or reports what is wrong and how to fix it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use jackfield_tests::{Guest, Setup, TestHost, binary, empty_home, failed_test, wait_for};
use serde_json::{Value, json};

const DOCTOR_ARGUMENTS: [&str; 5] = ["doctor", "--data", "data", "--plugins", "plugins"];

/// Returns a command that runs the binary through `wrapper`, a command line that executes its
/// arguments.
fn binary_under(wrapper: &[&str], arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(binary()).args(arguments).current_dir(folder);
    command.stdin(Stdio::null()).env_remove("JACKFIELD_ADMIN_TOKEN");
    command
}

/// Returns the finding of `doctor` about one check: the status, what was found, and the fix.
#[track_caller]
fn doctor_finding(command: &mut Command, check: &str) -> (String, String, String) {
    let output = command.arg("--json").output().expect("the binary starts");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let findings = report["findings"].as_array().expect("findings");
    let finding = findings.iter().find(|it| it["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no finding about {check}: {report}"));
    let text = |name: &str| finding[name].as_str().expect("a text").to_owned();
    println!("{finding}");
    (text("status"), text("found"), text("fix"))
}

/// Starts a server that must end with exit code 1. Returns the last line of its stderr.
#[track_caller]
fn start_error(wrapper: &[&str], folder: &Path) -> String {
    let wrapper = [&["timeout", "60"], wrapper].concat();
    let output = binary_under(&wrapper, &["serve", "--listen", "127.0.0.1:0"], folder).output();
    let output = output.expect("the binary starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    println!("{error}");
    error.lines().last().expect("a line").to_owned()
}

/// Executes a copy of the binary in the server's folder as another user, with the group 2000. Only
/// root can do this.
const AS_OTHER_USER: &str = "chmod a+rwx . plugins && chmod a+r jackfield.toml && cp \"$1\" program && shift && \
                             exec setpriv --reuid 1000 --regid 1000 --groups 2000 ./program \"$@\"";
const AS_THIS_USER: &str = "cp \"$1\" program && shift && exec ./program \"$@\"";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns the setup of a server that starts after `script` has run. If the test runs as root,
/// `script_of_root` runs before `script`, and the server runs as another user.
fn as_other_user(script: &str, script_of_root: &str) -> Setup {
    let script = match is_root() {
        true => format!("{script_of_root}; {script}; {AS_OTHER_USER}"),
        false => format!("{script}; {AS_THIS_USER}"),
    };
    Setup::new().run_under(&["sh", "-euc", &script, "sh"])
}

/// Kubernetes prepares a volume with `fsGroup` in this way, and gives the group access to all files
/// before each start.
#[test]
fn a_kubernetes_volume_with_an_fs_group_works_at_each_start() {
    let volume = "chmod 2770 data; chmod -R ug+rwX data";
    let setup = as_other_user(volume, "chown root:2000 data; chgrp -R 2000 data");
    let mut host = setup.without_admin_token().start();
    for restarts in 0..2 {
        if restarts > 0 {
            host.restart();
        }
        let mode =
            |name: &str| host.data(name).metadata().expect("the path exists").permissions().mode();
        let expected = if restarts == 0 { 0o600 } else { 0o660 };
        for name in ["secret-key", "compiled-key", "admin-token", "jackfield.db"] {
            assert_eq!(
                mode(name) & 0o777,
                expected,
                "{name} has a wrong mode after {restarts} restarts"
            );
        }
        assert_eq!(mode("") & 0o7777, 0o2770);
        let has_warned = host.output().contains("the group of");
        assert_eq!(has_warned, restarts > 0, "{}", host.output());
    }
    let wrapper = ["setpriv", "--reuid", "1000", "--regid", "1000", "--groups", "2000"];
    let wrapper = if is_root() { &wrapper[..] } else { &["env"] };
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg("./program").args(DOCTOR_ARGUMENTS).current_dir(host.folder());
    let (status, found, fix) = doctor_finding(&mut command, "access");
    assert_eq!(status, "warn");
    assert!(found.contains("secret-key") && found.contains("admin-token"), "{found}");
    assert!(fix.contains("chmod 600"), "{fix}");
}

/// A restored backup may belong to another user.
#[test]
fn a_database_of_another_owner_is_used_and_its_mode_is_not_changed() {
    let mut host = as_other_user("true", "[ -e data/lock ] || chown 1000:2000 data").start();
    assert!(host.stop().success());
    let database = host.data("jackfield.db");
    let modes = if is_root() { [0o660, 0o664] } else { [0o660, 0o600] };
    let has_new_owner = chown(&database, Some(0), Some(2_000)).is_ok();
    assert_eq!(has_new_owner, is_root());
    for mode in modes {
        fs::set_permissions(&database, fs::Permissions::from_mode(mode)).expect("the mode is set");
        host.restart();
        assert_eq!(
            database.metadata().expect("the path exists").permissions().mode() & 0o777,
            mode
        );
    }
}

fn address_space_wrapper(bytes: u64) -> [String; 2] {
    ["prlimit".to_owned(), format!("--as={bytes}")]
}

#[test]
fn a_small_address_space_leads_to_a_smaller_pool_or_to_no_pool() {
    const GIB: u64 = 1 << 30;
    for (bytes, expected_words) in [
        (1_500 * GIB, ["a smaller pool", "250"]),
        (200 * GIB, ["a smaller pool", "32"]),
        (24 * GIB, ["without a pool", "guest memories"]),
    ] {
        let wrapper = address_space_wrapper(bytes);
        let wrapper: Vec<_> = wrapper.iter().map(String::as_str).collect();
        let setup = Setup::new().run_under(&wrapper);
        let (host, connection) = setup.start_with_guest("instant", json!({}));
        host.create(&connection, &failed_test()).assert_status(200);
        let line = host.output();
        let line = line.lines().find(|line| line.contains("address space"));
        let line = line.unwrap_or_else(|| panic!("{}", host.output()));
        assert!(expected_words.iter().all(|word| line.contains(word)), "{line}");
        let (status, found, fix) = doctor_finding(
            &mut binary_under(&wrapper, &DOCTOR_ARGUMENTS, host.folder()),
            "address space",
        );
        assert_eq!(status, "warn");
        assert!(expected_words.iter().all(|word| found.contains(word)), "{found}");
        assert!(fix.contains("ulimit -v"), "{fix}");
    }
}

#[test]
fn a_server_whose_program_file_was_replaced_or_removed_still_compiles() {
    let script = "cp \"$1\" jackfield && shift && exec ./jackfield \"$@\"";
    let host = Setup::new().run_under(&["sh", "-euc", script, "sh"]).start();
    let (status, ..) = doctor_finding(&mut host.cli(&DOCTOR_ARGUMENTS), "program");
    assert_eq!(status, "ok");
    let program = host.folder().join("jackfield");
    fs::write(host.folder().join("new"), "#!/bin/sh\nexit 7\n").expect("the file is written");
    fs::rename(host.folder().join("new"), &program).expect("the file is replaced");
    host.replace("first", &Guest::named("instant"));
    fs::remove_file(&program).expect("the file is removed");
    host.replace("second", &Guest::named("instant").with_build(2));
    let (status, found, fix) = doctor_finding(&mut host.cli(&DOCTOR_ARGUMENTS), "program");
    assert_eq!(status, "warn");
    assert!(found.contains(&host.process_id().to_string()) && fix.contains("restart"), "{found}");
}

/// Returns a command line that mounts a tmpfs with these options over the folder `data` and then
/// executes its arguments, in a mount namespace of its own.
fn tmpfs_wrapper(options: &str) -> Vec<String> {
    let script = format!("mount -t tmpfs -o mode=700,{options} tmpfs data && exec \"$@\"");
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-euc", &script, "sh"];
    wrapper.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_system_that_forbids_compiled_code_is_named_at_the_start_and_by_doctor() {
    let deny_script = "import ctypes, os, sys\n\
                if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit('no PR_SET_MDWE')\n\
                os.execvp(sys.argv[1], sys.argv[1:])";
    let with_noexec = tmpfs_wrapper("noexec");
    let with_noexec: Vec<_> = with_noexec.iter().map(String::as_str).collect();
    for (wrapper, cause, other_cause) in [
        (with_noexec, "noexec", "MemoryDenyWriteExecute"),
        (vec!["python3", "-c", deny_script], "MemoryDenyWriteExecute", "noexec"),
    ] {
        let home = empty_home();
        let error = start_error(&wrapper, home.path());
        assert!(error.contains(cause) && !error.contains(other_cause), "{error}");
        let (status, found, _) = doctor_finding(
            &mut binary_under(&wrapper, &DOCTOR_ARGUMENTS, home.path()),
            "compiled code",
        );
        assert_eq!(status, "fail");
        assert!(found.contains(cause) && !found.contains(other_cause), "{found}");
    }
    let with_exec = tmpfs_wrapper("exec");
    let with_exec: Vec<_> = with_exec.iter().map(String::as_str).collect();
    let home = empty_home();
    let (status, ..) = doctor_finding(
        &mut binary_under(&with_exec, &DOCTOR_ARGUMENTS, home.path()),
        "compiled code",
    );
    assert_eq!(status, "ok");
}

/// The new server waits at most this many seconds for the lock of the data folder.
fn start_waiting_server(host: &TestHost, seconds: &str) -> Child {
    let arguments =
        ["serve", "--listen", "127.0.0.1:0", "--data", "data", "--wait-for-lock", seconds];
    let mut command = host.cli(&arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

/// Reads the output of a process up to the first line that contains this word.
fn read_until(pipe: impl std::io::Read, word: &str) -> String {
    use std::io::BufRead;
    let lines = std::io::BufReader::new(pipe).lines().map_while(Result::ok);
    let mut output = String::new();
    for line in lines {
        output += &line;
        if line.contains(word) {
            return output;
        }
    }
    panic!("{word} is missing in: {output}")
}

#[test]
fn a_rolling_update_waits_for_the_lock() {
    let mut host = Setup::new().start();
    let mut second = start_waiting_server(&host, "60");
    read_until(second.stderr.take().expect("a pipe"), "waiting");
    assert!(second.try_wait().expect("a child").is_none());
    assert!(host.stop().success());
    let printed = read_until(second.stdout.take().expect("a pipe"), "listening on http://");
    println!("{printed}");

    // Now the second server has the lock. The third server waits for 0 s and ends. SIGTERM ends the
    // wait of the fourth server at once.
    let mut third = start_waiting_server(&host, "0");
    let mut fourth = start_waiting_server(&host, "600");
    read_until(third.stderr.take().expect("a pipe"), "--wait-for-lock SECONDS");
    assert_eq!(third.wait().expect("a child").code(), Some(1));
    read_until(fourth.stderr.take().expect("a pipe"), "waiting");
    for child in [&mut fourth, &mut second] {
        let process = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM)
            .expect("the server runs");
        let status = wait_for("the server to end", 30, || child.try_wait().expect("a child"));
        assert_eq!(status.code(), Some(0));
    }
}

/// Some file systems return names in upper case, so `.WASM` is reported and not ignored.
#[test]
fn each_file_in_the_plugins_folder_gets_a_final_status() {
    let host = Setup::new().start();
    fs::write(host.folder().join("plugins/UPPER.WASM"), "x").expect("the file is written");
    std::os::unix::fs::symlink("nowhere", host.plugin("dangling")).expect("a link");
    for (name, expected) in [("UPPER.WASM", "rename"), ("dangling", "cannot read")] {
        let connector = host.await_connector(name, "broken", None);
        assert!(
            connector["error"].as_str().is_some_and(|text| text.contains(expected)),
            "{connector}"
        );
    }
    let (status, found, _) = doctor_finding(&mut host.cli(&DOCTOR_ARGUMENTS), "plugins folder");
    assert_eq!(status, "warn");
    assert!(found.contains("UPPER.WASM") && found.contains("lower case"), "{found}");
    assert!(found.contains("dangling"), "{found}");

    // The content of this file changes repeatedly, as during a download that never ends.
    let growing = host.plugin("growing");
    let mut count = 0;
    let connector = wait_for("the connector to be broken with a reason", 90, || {
        count += 1;
        fs::write(&growing, format!("{count}")).expect("the file is written");
        let answer = host.admin().get("/connectors/growing");
        let connector = (answer.status == 200).then(|| answer.json())?;
        let error = connector["error"].as_str().unwrap_or_default();
        error.contains("keeps changing").then_some(connector)
    });
    assert_eq!(connector["status"], "broken");
    host.replace("growing", &Guest::named("instant"));
}

/// Backups, volume drivers and people may change the modification time of a file but not its
/// content.
#[test]
fn a_file_that_is_replaced_by_the_same_content_is_not_loaded_again() {
    let host = Setup::new().config("rescan_ms = 100").guests(["instant"]).start();
    let loaded_at =
        |host: &TestHost| host.await_connector("instant", "ready", None)["loaded_at"].clone();
    let loaded_before = loaded_at(&host);
    let lines_before = host.output().lines().count();
    for _ in 0..20 {
        host.install("instant", &Guest::named("instant"));
    }
    // The scan that loads this second file has also read the file that was replaced.
    host.replace("other", &Guest::named("instant").with_build(2));
    assert_eq!(loaded_at(&host), loaded_before);
    let text = host.output();
    let new_lines: Vec<_> =
        text.lines().skip(lines_before).filter(|line| !line.contains("other")).collect();
    assert!(new_lines.is_empty(), "{new_lines:?}");
}
