//! The operator's manual contains commands that erase the texts of a defect. After these commands,
//! the server still knows the defect, and creates no second defect for the failed test.

use std::fs;

use jackfield_tests::{Guest, Setup, failed_test, root, with_database};
use serde_json::json;

/// Returns the SQL statements of the manual with the key of this defect.
fn manual_statements(key: &str) -> String {
    let page = fs::read_to_string(root().join("docs/operator.md")).expect("docs/operator.md");
    let begin = "sqlite3 /var/lib/jackfield/jackfield.db \"\n";
    let sql = page.split(begin).nth(1).and_then(|rest| rest.split("\"\n```").next());
    let sql = sql.expect("the statements");
    assert!(sql.contains("'QA-123'"), "{sql}");
    sql.replace("'QA-123'", &format!("'{key}'"))
}

#[test]
fn the_texts_of_a_defect_are_erased_and_the_defect_is_still_known() {
    // The title contains the build number, so no other text in the database equals the title.
    let guest = Guest::named("instant").with_build(654_321);
    let mut host = Setup::new().plugin("instant", &guest).start();
    let connection = host.add_connection("qa", "instant", json!({}), json!({}));
    let test = failed_test();
    let created = host.create(&connection, &test).expect(200);
    let (key, title) = (created["id"].as_str().expect("a key"), created["name"].as_str());
    let title = title.expect("a title").to_owned();
    host.stop();
    let statements = manual_statements(key);
    with_database(&host.data_folder(), |database| database.execute_batch(&statements));
    let bytes = fs::read(host.data("jackfield.db")).expect("the database");
    let is_found = bytes.windows(title.len()).any(|part| part == title.as_bytes());
    assert!(!is_found, "{title} is still in the file");
    host.restart();
    let repeated = host.create(&connection, &test).expect(200);
    assert_eq!(repeated["id"], created["id"]);
    assert_eq!(repeated["name"], "(erased)");
}
