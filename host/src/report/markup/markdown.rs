//! CommonMark, as GitHub and GitLab extend it. A backslash is before each character that they could
//! read as markup; a mention and a reference to an issue are broken by a word joiner, which no
//! reader sees, because both are found in the finished text.

use super::document::{Block, Document, Inline};
use super::plain::{bullet, with_prefix};

/// Characters that are markup anywhere in a line.
const MARKUP: &str = "\\`*_{}[]<>#|~&@!$^";
/// Characters that are markup at the beginning of a line.
const LINE_START: &str = "+-=:/%";
const WORD_JOINER: char = '\u{2060}';

pub(super) fn render(document: &Document) -> String {
    blocks(&document.blocks)
}

fn blocks(all: &[Block]) -> String {
    all.iter().map(block).collect::<Vec<_>>().join("\n\n")
}

fn block(block: &Block) -> String {
    match block {
        Block::Paragraph(inlines) => line(inlines, "\\\n"),
        Block::Heading(level, inlines) => {
            format!("{} {}", "#".repeat(usize::from(*level)), line(inlines, " "))
        }
        Block::Code(text) => {
            let fence = "`".repeat(longest_run(text).max(2) + 1);
            format!("{fence}\n{text}\n{fence}")
        }
        Block::Quote(inner) => with_prefix(&blocks(inner), "> ", "> "),
        Block::List(first, items) => list(*first, items),
        Block::Rule => "---".to_owned(),
    }
}

fn list(first: Option<u64>, items: &[Vec<Block>]) -> String {
    let item = |(index, item): (usize, &Vec<Block>)| {
        let bullet = bullet(first, index);
        let is_tight = |block: &Block| matches!(block, Block::Paragraph(_) | Block::List(..));
        let tight = item.len() < 3 && item.iter().all(is_tight);
        let text =
            item.iter().map(block).collect::<Vec<_>>().join(if tight { "\n" } else { "\n\n" });
        with_prefix(&text, &bullet, &" ".repeat(bullet.len()))
    };
    items.iter().enumerate().map(item).collect::<Vec<_>>().join("\n")
}

/// The length of the longest sequence of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

/// A line of inlines; a break is written as given.
fn line(inlines: &[Inline], line_break: &str) -> String {
    let mut written = String::new();
    write(&mut written, inlines, line_break);
    written
}

fn write(written: &mut String, inlines: &[Inline], line_break: &str) {
    for inline in inlines {
        match inline {
            Inline::Text(text) => write_text(written, text),
            Inline::Code(text) => write_code(written, text),
            Inline::Strong(inner) => write_between(written, "**", inner, line_break),
            Inline::Emphasis(inner) => write_between(written, "*", inner, line_break),
            Inline::Link(url, inner) => {
                written.push('[');
                write(written, inner, line_break);
                written.push_str("](<");
                written.push_str(url);
                written.push_str(">)");
            }
            Inline::Break => written.push_str(line_break),
        }
    }
}

fn write_between(written: &mut String, mark: &str, inner: &[Inline], line_break: &str) {
    let inner = line(inner, line_break);
    if inner.trim().is_empty() {
        return;
    }
    written.push_str(mark);
    written.push_str(inner.trim());
    written.push_str(mark);
}

fn write_text(written: &mut String, text: &str) {
    let mut text = text;
    if written.is_empty() || written.ends_with('\n') {
        text = text.trim_start();
        text = write_line_start(written, text);
    }
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if MARKUP.contains(c) {
            written.push('\\');
        }
        written.push(c);
        if matches!(c, '@' | '#') && chars.peek().is_some_and(|next| next.is_alphanumeric()) {
            written.push(WORD_JOINER);
        }
    }
}

/// Writes what could begin a list, a heading or a command at the beginning of a line. Returns the
/// rest of the text.
fn write_line_start<'t>(written: &mut String, text: &'t str) -> &'t str {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.get(..text.len() - digits.len()).unwrap_or_default();
    let rest = match (number, digits.chars().next()) {
        ("", Some(c)) if LINE_START.contains(c) => c,
        (number, Some(c @ ('.' | ')'))) if !number.is_empty() => c,
        _ => return text,
    };
    written.push_str(number);
    written.push('\\');
    written.push(rest);
    digits.get(1..).unwrap_or_default()
}

fn write_code(written: &mut String, text: &str) {
    let fence = "`".repeat(longest_run(text) + 1);
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    if text.trim().is_empty() {
        return written.push_str(text);
    }
    written.push_str(&format!("{fence}{pad}{text}{pad}{fence}"));
}
