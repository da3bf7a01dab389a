//! The password of the database comes from a file or from an environment variable. No error message
//! contains the password.

use std::fs;

use super::{CommandFolder, PASSWORD, PASSWORD_VARIABLE, config, setup, start_postgres};

#[test]
fn a_password_from_a_file_or_a_variable_is_used_and_a_wrong_password_is_never_printed() {
    let postgres = start_postgres();
    let uses_scram =
        "SELECT rolpassword LIKE 'SCRAM-SHA-256%' FROM pg_authid WHERE rolname = 'app'";
    assert_eq!(postgres.query(uses_scram), ["t"]);
    let by_variable = config("127.0.0.1", postgres.port(), "");
    let mut host = setup(&by_variable).start();
    let output = host.output();
    assert!(!output.contains(PASSWORD), "the password was printed: {output}");
    host.stop();
    let wrong = CommandFolder::new(&by_variable).with_password("pw-that-is-wrong-5506");
    wrong.assert_refused(&["password authentication failed", "check `store_password`"]);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("database");
    let reference = format!("file:{}", file.display());
    let roots = format!("secret_file_roots = [{:?}]\n", folder.path());
    let by_file = by_variable.replace(&format!("env:{PASSWORD_VARIABLE}"), &reference) + &roots;
    let home = CommandFolder::new(&by_file).with_password("pw-that-is-wrong-5506");
    home.assert_refused(&["store_password", &file.display().to_string()]);
    fs::write(&file, "pw-that-is-wrong-5506\n").expect("the file");
    home.assert_refused(&["password authentication failed", "check `store_password`"]);
    // The server must ignore the line break at the end of the file.
    fs::write(&file, format!("{PASSWORD}\n")).expect("the file");
    let _ = setup(&by_file).start();
}
