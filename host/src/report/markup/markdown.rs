//! Writes CommonMark for GitHub and GitLab, which extend it. A backslash is put before each
//! character that they could read as markup. An invisible word joiner is put between a `@` or `#`
//! and a letter or digit after it, because GitHub and GitLab search the rendered text for mentions
//! and references to issues.

use super::document::{Block, Document, Inline};
use super::plain::{list_item_prefix, with_line_prefixes};

/// Characters that are markup anywhere in a line.
const MARKUP_CHARACTERS: &str = "\\`*_{}[]<>#|~&@!$^";
/// Characters that are markup at the beginning of a line.
const LINE_START_CHARACTERS: &str = "+-=:/%";
/// An invisible character that keeps GitHub and GitLab from reading a mention or a reference.
const WORD_JOINER: char = '\u{2060}';

pub(super) fn render(document: &Document) -> String {
    render_blocks(&document.blocks)
}

fn render_blocks(blocks: &[Block]) -> String {
    blocks.iter().map(render_block).collect::<Vec<_>>().join("\n\n")
}

fn render_block(block: &Block) -> String {
    match block {
        Block::Paragraph(inlines) => render_inlines(inlines, "\\\n"),
        Block::Heading(level, inlines) => {
            format!("{} {}", "#".repeat(usize::from(*level)), render_inlines(inlines, " "))
        }
        Block::Code(text) => {
            let fence = "`".repeat(longest_backtick_run(text).max(2) + 1);
            format!("{fence}\n{text}\n{fence}")
        }
        Block::Quote(inner) => with_line_prefixes(&render_blocks(inner), "> ", "> "),
        Block::List(first, items) => render_list(*first, items),
        Block::Rule => "---".to_owned(),
    }
}

fn render_list(first: Option<u64>, items: &[Vec<Block>]) -> String {
    let item = |(index, item): (usize, &Vec<Block>)| {
        let prefix = list_item_prefix(first, index);
        let is_tight_block = |block: &Block| matches!(block, Block::Paragraph(_) | Block::List(..));
        let is_tight = item.len() < 3 && item.iter().all(is_tight_block);
        let text = item.iter().map(render_block).collect::<Vec<_>>().join(if is_tight {
            "\n"
        } else {
            "\n\n"
        });
        with_line_prefixes(&text, &prefix, &" ".repeat(prefix.len()))
    };
    items.iter().enumerate().map(item).collect::<Vec<_>>().join("\n")
}

fn longest_backtick_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

fn render_inlines(inlines: &[Inline], line_break: &str) -> String {
    let mut output = String::new();
    write_inlines(&mut output, inlines, line_break);
    output
}

fn write_inlines(output: &mut String, inlines: &[Inline], line_break: &str) {
    for inline in inlines {
        match inline {
            Inline::Text(text) => write_text(output, text),
            Inline::Code(text) => write_code(output, text),
            Inline::Strong(inner) => write_between_marks(output, "**", inner, line_break),
            Inline::Emphasis(inner) => write_between_marks(output, "*", inner, line_break),
            Inline::Link(url, inner) => {
                output.push('[');
                write_inlines(output, inner, line_break);
                output.push_str("](<");
                output.push_str(url);
                output.push_str(">)");
            }
            Inline::Break => output.push_str(line_break),
        }
    }
}

fn write_between_marks(output: &mut String, mark: &str, inner: &[Inline], line_break: &str) {
    let inner = render_inlines(inner, line_break);
    if inner.trim().is_empty() {
        return;
    }
    output.push_str(mark);
    output.push_str(inner.trim());
    output.push_str(mark);
}

fn write_text(output: &mut String, text: &str) {
    let mut text = text;
    if output.is_empty() || output.ends_with('\n') {
        text = text.trim_start();
        text = write_line_start(output, text);
    }
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if MARKUP_CHARACTERS.contains(c) {
            output.push('\\');
        }
        output.push(c);
        if matches!(c, '@' | '#') && chars.peek().is_some_and(|next| next.is_alphanumeric()) {
            output.push(WORD_JOINER);
        }
    }
}

/// Escapes characters that could begin a list, a heading or a command at the beginning of a line,
/// and writes them. Returns the rest of the text.
fn write_line_start<'t>(output: &mut String, text: &'t str) -> &'t str {
    let after_digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.get(..text.len() - after_digits.len()).unwrap_or_default();
    let marker = match (digits, after_digits.chars().next()) {
        ("", Some(c)) if LINE_START_CHARACTERS.contains(c) => c,
        (digits, Some(c @ ('.' | ')'))) if !digits.is_empty() => c,
        _ => return text,
    };
    output.push_str(digits);
    output.push('\\');
    output.push(marker);
    after_digits.get(1..).unwrap_or_default()
}

fn write_code(output: &mut String, text: &str) {
    let fence = "`".repeat(longest_backtick_run(text) + 1);
    let padding = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    if text.trim().is_empty() {
        return output.push_str(text);
    }
    output.push_str(&format!("{fence}{padding}{text}{padding}{fence}"));
}
