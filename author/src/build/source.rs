//! The source files of a project whose tools cannot say what a source exports.

use std::fs;

use crate::{AuthorError, Project};

/// The files with this extension in the project's folder.
pub(super) fn files(project: &Project, extension: &str) -> Result<Vec<String>, AuthorError> {
    let disk = || AuthorError::disk("read", &project.folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(&project.folder).map_err(disk())? {
        let name = entry.map_err(disk())?.file_name().to_string_lossy().into_owned();
        if name.rsplit_once('.').is_some_and(|(_, found)| found == extension) {
            files.push(name);
        }
    }
    files.sort();
    Ok(files)
}

/// A source without its comments. Texts are not recognised: a text with `//` loses its end, which
/// does not hide a name of the contract.
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
    fn a_name_in_a_comment_is_not_code() {
        let source = "a(); // b();\n/* c();\n d(); */ e();\nurl = \"https://f\";\ng();";
        let code = without_comments(source);
        let names = |from: char, to: char| (from..=to).filter(|it| code.contains(*it));
        assert_eq!(names('a', 'g').collect::<String>(), "aeg");
        assert_eq!(without_comments("a /* b"), "a \n");
    }
}
