//! Checks that the comment lines in the Rust sources have at most 100 columns. rustfmt keeps code
//! within this width, but does not wrap comments.

use std::fs;

use jackfield_tests::root;

use crate::layers::source_files;

const COLUMNS_MAX: usize = 100;

const SOURCE_FOLDERS: [&str; 5] = ["author", "guest-examples", "host", "tests", "xtask"];

fn long_comments(file: &str, text: &str) -> Vec<String> {
    let comments = (1..).zip(text.lines()).filter(|(_, line)| line.trim_start().starts_with("//"));
    let long = comments.filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    long.map(|(number, line)| format!("{file}:{number}: {} columns", line.chars().count()))
        .collect()
}

#[test]
fn comments_have_at_most_100_columns() {
    let root = root();
    let files: Vec<_> =
        SOURCE_FOLDERS.iter().flat_map(|name| source_files(&root.join(name))).collect();
    assert!(files.len() > 900, "only {} files were read", files.len());
    let messages = files.iter().flat_map(|path| {
        let file = path.strip_prefix(&root).expect("a file of the repository").display();
        long_comments(&file.to_string(), &fs::read_to_string(path).expect("a source"))
    });
    let messages: Vec<_> = messages.collect();
    assert!(messages.is_empty(), "{} comments to wrap:\n{}", messages.len(), messages.join("\n"));
}

#[test]
fn the_check_counts_characters_instead_of_bytes_and_ignores_lines_of_code() {
    let line = |prefix: &str, columns: usize| {
        let rest = "ü".repeat(columns - prefix.len());
        format!("{prefix}{rest}\n")
    };
    for prefix in ["//! ", "/// ", "    // "] {
        assert_eq!(long_comments("a.rs", &line(prefix, 100)), [""; 0]);
        let text = format!("\n{}", line(prefix, 101));
        assert_eq!(long_comments("a.rs", &text), ["a.rs:2: 101 columns"]);
    }
    assert_eq!(long_comments("a.rs", &line("let a = ", 101)), [""; 0]);
}
