//! Writes the wiki markup of Jira's REST API 2.

use super::document::{Document, Inline};
use super::entities::{break_tags, escape, push_between};
use super::flat::{self, FlatBlock};

pub(super) fn render(document: &Document) -> String {
    flat::render(document, |block| match block {
        FlatBlock::Paragraph(inlines) => inlines_to_text(inlines, "\n"),
        FlatBlock::Heading(level, inlines) => {
            format!("h{level}. {}", inlines_to_text(inlines, " "))
        }
        FlatBlock::Code(text) => {
            format!("{{noformat}}\n{}\n{{noformat}}", break_tags(text, &["{noformat"]))
        }
        FlatBlock::Quote(inlines) => format!("bq. {}", inlines_to_text(inlines, " ")),
        FlatBlock::Item(list_prefix, inlines) => {
            format!("{list_prefix} {}", inlines_to_text(inlines, "\n"))
        }
        FlatBlock::Rule => "----".to_owned(),
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
            Inline::Code(text) if text.trim().is_empty() => output.push_str(text),
            Inline::Code(text) => output.push_str(&format!("{{{{{}}}}}", escape(text, true))),
            Inline::Strong(inner) => push_between(output, '*', &inlines_to_text(inner, line_break)),
            Inline::Emphasis(inner) => {
                push_between(output, '_', &inlines_to_text(inner, line_break))
            }
            Inline::Link(url, inner) => match inlines_to_text(inner, " ") {
                label if label.trim().is_empty() => output.push_str(&format!("[{url}]")),
                label => output.push_str(&format!("[{}|{url}]", label.trim())),
            },
            Inline::Break => output.push_str(line_break),
        }
    }
}
