//! Writes Textile for Redmine, which also reads links, macros and mentions in a text.

use super::document::{Document, Inline};
use super::entities::{break_tags, escape, push_between};
use super::flat::{self, FlatBlock};

/// The beginnings of tags that Redmine reads as the end of code or as nested code. Redmine ignores
/// their case.
const CODE_TAGS: [&str; 8] =
    ["<pre", "</pre", "<code", "</code", "<kbd", "</kbd", "<notextile", "</notextile"];
/// Characters that inline code may contain in addition to letters and digits. Inline code with
/// other characters is written as escaped text.
const SAFE_CODE_PUNCTUATION: &str = " -_./,=";

pub(super) fn render(document: &Document) -> String {
    flat::render(document, |block| match block {
        FlatBlock::Paragraph(inlines) => inlines_to_text(inlines, "\n"),
        FlatBlock::Heading(level, inlines) => {
            format!("h{level}. {}", inlines_to_text(inlines, " "))
        }
        FlatBlock::Code(text) => format!("<pre>\n{}\n</pre>", break_tags(text, &CODE_TAGS)),
        FlatBlock::Quote(inlines) => format!("bq. {}", inlines_to_text(inlines, "\n")),
        FlatBlock::Item(list_prefix, inlines) => {
            format!("{list_prefix} {}", inlines_to_text(inlines, "\n"))
        }
        FlatBlock::Rule => "---".to_owned(),
    })
}

fn inlines_to_text(inlines: &[Inline], line_break: &str) -> String {
    let mut output = String::new();
    write_inlines(&mut output, inlines, line_break);
    output
}

fn write_inlines(output: &mut String, inlines: &[Inline], line_break: &str) {
    for inline in inlines {
        match inline {
            Inline::Text(text) => {
                let is_line_start = output.is_empty() || output.ends_with('\n');
                output.push_str(&escape(text, is_line_start));
            }
            Inline::Code(text) => write_code(output, text),
            Inline::Strong(inner) => push_between(output, '*', &inlines_to_text(inner, line_break)),
            Inline::Emphasis(inner) => {
                push_between(output, '_', &inlines_to_text(inner, line_break))
            }
            Inline::Link(url, inner) => {
                let label = inlines_to_text(inner, " ");
                let label = if label.trim().is_empty() { escape(url, false) } else { label };
                // The space after the address ends the link.
                output.push_str(&format!("\"{}\":{url} ", label.trim()));
            }
            Inline::Break => output.push_str(line_break),
        }
    }
}

fn write_code(output: &mut String, text: &str) {
    let is_safe = |c: char| c.is_alphanumeric() || SAFE_CODE_PUNCTUATION.contains(c);
    let text = text.trim();
    if !text.is_empty() && text.chars().all(is_safe) {
        output.push_str(&format!("@{text}@"));
    } else {
        output.push_str(&escape(text, true));
    }
}
