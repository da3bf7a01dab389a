//! Comments have at most 100 columns in all Rust sources. rustfmt keeps code within this width, and
//! wraps no comment.

use std::fs;

use jackfield_tests::root;

use crate::layers::source_files;

const COLUMNS_MAX: usize = 100;
/// The folders with sources.
const FOLDERS: [&str; 5] = ["author", "guest-examples", "host", "tests", "xtask"];
/// One message for each comment line of a file that is too long.
fn long_comments(file: &str, text: &str) -> Vec<String> {
    let comments = (1..).zip(text.lines()).filter(|(_, line)| line.trim_start().starts_with("//"));
    let long = comments.filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    long.map(|(number, line)| format!("{file}:{number}: {} columns", line.chars().count()))
        .collect()
}

#[test]
fn comments_have_at_most_100_columns() {
    let root = root();
    let files: Vec<_> = FOLDERS.iter().flat_map(|it| source_files(&root.join(it))).collect();
    assert!(files.len() > 900, "only {} files were read", files.len());
    let found = files.iter().flat_map(|path| {
        let file = path.strip_prefix(&root).expect("a file of the repository").display();
        long_comments(&file.to_string(), &fs::read_to_string(path).expect("a source"))
    });
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "{} comments to wrap:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_check_finds_comments_and_counts_characters() {
    let line = |begin: &str, columns: usize| {
        let rest = "ü".repeat(columns - begin.len());
        format!("{begin}{rest}\n")
    };
    for begin in ["//! ", "/// ", "    // "] {
        assert_eq!(long_comments("a.rs", &line(begin, 100)), [""; 0]);
        let text = format!("\n{}", line(begin, 101));
        assert_eq!(long_comments("a.rs", &text), ["a.rs:2: 101 columns"]);
    }
    assert_eq!(long_comments("a.rs", &line("let a = ", 101)), [""; 0]);
}
