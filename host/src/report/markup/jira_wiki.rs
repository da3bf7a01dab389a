//! Writes the wiki markup of Jira's REST API 2; texts are escaped by `entities`.

use super::document::{Document, Inline};
use super::entities::{break_up, encode, push_between};
use super::flat::{self, Flat};

pub(super) fn render(document: &Document) -> String {
    flat::render(document, |block| match block {
        Flat::Paragraph(inlines) => line(inlines, "\n"),
        Flat::Heading(level, inlines) => format!("h{level}. {}", line(inlines, " ")),
        Flat::Code(text) => {
            format!("{{noformat}}\n{}\n{{noformat}}", break_up(text, &["{noformat"]))
        }
        Flat::Quote(inlines) => format!("bq. {}", line(inlines, " ")),
        Flat::Item(lists, inlines) => format!("{lists} {}", line(inlines, "\n")),
        Flat::Rule => "----".to_owned(),
    })
}

fn line(inlines: &[Inline], line_break: &str) -> String {
    let mut written = String::new();
    write(&mut written, inlines, line_break);
    written
}

fn write(written: &mut String, inlines: &[Inline], line_break: &str) {
    for inline in inlines {
        match inline {
            Inline::Text(text) => {
                let line_start = written.is_empty() || written.ends_with('\n');
                written.push_str(&encode(text, line_start));
            }
            Inline::Code(text) if text.trim().is_empty() => written.push_str(text),
            Inline::Code(text) => written.push_str(&format!("{{{{{}}}}}", encode(text, true))),
            Inline::Strong(inner) => push_between(written, '*', &line(inner, line_break)),
            Inline::Emphasis(inner) => push_between(written, '_', &line(inner, line_break)),
            Inline::Link(url, inner) => match line(inner, " ") {
                label if label.trim().is_empty() => written.push_str(&format!("[{url}]")),
                label => written.push_str(&format!("[{}|{url}]", label.trim())),
            },
            Inline::Break => written.push_str(line_break),
        }
    }
}
