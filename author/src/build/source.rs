//! Lists the source files of projects in C, C++ and Go, and removes comments from their texts. The
//! compilers of these languages cannot list the exports of a source file, so the build searches
//! the text of the file.

use std::fs;

use crate::{AuthorError, Project};

pub(super) fn source_files(project: &Project, extension: &str) -> Result<Vec<String>, AuthorError> {
    let disk = || AuthorError::disk_error("read", &project.folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(&project.folder).map_err(disk())? {
        let name = entry.map_err(disk())?.file_name().to_string_lossy().into_owned();
        if name.rsplit_once('.').is_some_and(|(_, it)| it == extension) {
            files.push(name);
        }
    }
    files.sort();
    Ok(files)
}

/// Removes the comments from a source. String literals are not recognised: if a literal contains
/// `//` or `/*`, the code after it is removed as a comment. This is harmless unless the removed
/// code contains a name of the contract.
pub(super) fn without_comments(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(at) = rest.find("//").into_iter().chain(rest.find("/*")).min() {
        let (before, comment) = rest.split_at(at);
        code += before;
        let end = if comment.starts_with("//") { "\n" } else { "*/" };
        rest = comment.split_once(end).map_or("", |(_, after)| after);
        code.push('\n');
    }
    code + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_comments_are_removed() {
        let source = "a(); // b();\n/* c();\n d(); */ e();\nurl = \"https://f\";\ng();";
        let code = without_comments(source);
        let names = |from: char, to: char| (from..=to).filter(|it| code.contains(*it));
        assert_eq!(names('a', 'g').collect::<String>(), "aeg");
        assert_eq!(without_comments("a /* b"), "a \n");
    }
}
