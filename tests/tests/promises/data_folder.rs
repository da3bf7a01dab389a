//! The data folder. The server does not start if users outside the group of the folder have access
//! to the folder, or to a file in the folder that contains a key or a token. The server also does
//! not start if the folder or such a file belongs to another user; but the folder may belong to
//! root. The server never changes the mode of a folder that already exists.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use jackfield_tests::{Setup, binary, empty_home};

/// The user id of `nobody`.
const OTHER_USER: u32 = 65_534;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the mode is set");
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("the path exists").permissions().mode() & 0o7777
}

/// The folder contains `data` and `plugins`. Returns the last line on stderr.
#[track_caller]
fn error_of_refused_start(folder: &Path, admin_token: Option<&str>) -> String {
    let mut command = Command::new(binary());
    command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(folder).stdin(Stdio::null());
    command.env_remove("JACKFIELD_ADMIN_TOKEN");
    if let Some(token) = admin_token {
        command.env("JACKFIELD_ADMIN_TOKEN", token);
    }
    // The time-out ends a server that starts by mistake.
    let output = Command::new("timeout")
        .arg("20")
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(folder)
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    error.lines().last().expect("a line").to_owned()
}

#[test]
fn a_data_folder_that_others_can_enter_is_refused_and_the_fix_is_named() {
    let home = empty_home();
    let data = home.path().join("data");
    for open_mode in [0o755, 0o701, 0o1777] {
        set_mode(&data, open_mode);
        let error = error_of_refused_start(home.path(), None);
        assert!(error.contains("chmod o-rwx"), "{open_mode:o}: {error}");
        assert_eq!(mode(&data), open_mode, "the server changed the mode of the folder");
        assert_eq!(
            fs::read_dir(&data).expect("the folder").count(),
            0,
            "the server created a file"
        );
    }
    set_mode(&data, 0o700);
    for (name, content) in
        [("admin-token", "planted-admin-token-0123456789"), ("secret-key", &"ab".repeat(32))]
    {
        let file = data.join(name);
        fs::write(&file, content).expect("the file is written");
        set_mode(&file, 0o644);
        let error = error_of_refused_start(home.path(), None);
        assert!(error.contains(name) && error.contains("chmod 600"), "{error}");
        set_mode(&file, 0o600);
        if chown(&file, Some(OTHER_USER), None).is_ok() {
            let error = error_of_refused_start(home.path(), None);
            assert!(error.contains(name) && error.contains("belongs to user 65534"), "{error}");
        }
        fs::remove_file(&file).expect("the file is removed");
    }
    if chown(&data, Some(OTHER_USER), None).is_ok() {
        let error = error_of_refused_start(home.path(), None);
        assert!(error.contains("belongs to user 65534"), "{error}");
    }
}

/// On some container platforms, volumes belong to root with mode 2770, and their files get mode
/// 0660.
#[test]
fn a_data_folder_may_be_shared_with_its_group() {
    let mut host = Setup::new().without_admin_token().start();
    assert!(host.stop().success());
    set_mode(&host.data_folder(), 0o2770);
    for entry in fs::read_dir(host.data_folder()).expect("the data folder") {
        let path = entry.expect("an entry").path();
        set_mode(&path, if path.is_dir() { 0o2770 } else { 0o660 });
    }
    host.restart();
    let token = fs::read_to_string(host.data("admin-token")).expect("the admin token");
    host.api_as(token.trim()).get("/events").assert_status(200);
    for name in ["admin-token", "secret-key"] {
        let warned =
            host.output().lines().any(|line| line.contains("group") && line.contains(name));
        assert!(warned, "{name}: {}", host.output());
    }
}

#[test]
fn a_short_admin_token_is_refused() {
    let home = tempfile::tempdir().expect("a temporary folder");
    for name in ["data", "plugins"] {
        DirBuilder::new()
            .mode(0o700)
            .create(home.path().join(name))
            .expect("the folder is created");
    }
    for token in ["!", "fifteen-letters"] {
        let error = error_of_refused_start(home.path(), Some(token));
        assert!(error.contains("admin token") && error.contains("16"), "{error}");
        assert!(!error.contains(token), "{error}");
    }
    fs::write(home.path().join("data/admin-token"), "x\n").expect("the file is written");
    set_mode(&home.path().join("data/admin-token"), 0o600);
    let error = error_of_refused_start(home.path(), None);
    assert!(error.contains("admin-token") && error.contains("16"), "{error}");
}
