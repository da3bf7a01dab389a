//! Textile, as Redmine reads it, with its links, macros and mentions.

use super::document::{Document, Inline};
use super::entities::{break_up, encode, push_between};
use super::flat::{self, Flat};

/// Tags that Redmine reads as the end of code or as nested code, in upper or lower case.
const CODE_TAGS: [&str; 8] =
    ["<pre", "</pre", "<code", "</code", "<kbd", "</kbd", "<notextile", "</notextile"];
/// Characters that inline code may contain besides letters and digits; other code is written as
/// text.
const CODE_PLAIN: &str = " -_./,=";

pub(super) fn render(document: &Document) -> String {
    flat::render(document, |block| match block {
        Flat::Paragraph(inlines) => line(inlines, "\n"),
        Flat::Heading(level, inlines) => format!("h{level}. {}", line(inlines, " ")),
        Flat::Code(text) => format!("<pre>\n{}\n</pre>", break_up(text, &CODE_TAGS)),
        Flat::Quote(inlines) => format!("bq. {}", line(inlines, "\n")),
        Flat::Item(lists, inlines) => format!("{lists} {}", line(inlines, "\n")),
        Flat::Rule => "---".to_owned(),
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
            Inline::Code(text) => write_code(written, text),
            Inline::Strong(inner) => push_between(written, '*', &line(inner, line_break)),
            Inline::Emphasis(inner) => push_between(written, '_', &line(inner, line_break)),
            Inline::Link(url, inner) => {
                let label = line(inner, " ");
                let label = if label.trim().is_empty() { encode(url, false) } else { label };
                // A link ends at a space.
                written.push_str(&format!("\"{}\":{url} ", label.trim()));
            }
            Inline::Break => written.push_str(line_break),
        }
    }
}

fn write_code(written: &mut String, text: &str) {
    let is_plain = |c: char| c.is_alphanumeric() || CODE_PLAIN.contains(c);
    let text = text.trim();
    if !text.is_empty() && text.chars().all(is_plain) {
        written.push_str(&format!("@{text}@"));
    } else {
        written.push_str(&encode(text, true));
    }
}
