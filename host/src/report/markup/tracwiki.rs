//! Writes the wiki markup of Trac. Trac's escape character works only before text that would be
//! markup without it, and Trac reads many words as links. Therefore every word that could be markup
//! is written as code, in which Trac reads no markup.

use super::document::{Document, Inline};
use super::entities::break_tags;
use super::flat::{self, FlatBlock};

pub(super) fn render(document: &Document) -> String {
    flat::render(document, |block| match block {
        FlatBlock::Paragraph(inlines) => render_inlines(inlines, "[[BR]]"),
        FlatBlock::Heading(level, inlines) => {
            let marks = "=".repeat(usize::from(*level));
            format!("{marks} {} {marks}", render_inlines(inlines, " "))
        }
        FlatBlock::Code(text) => format!("{{{{{{\n{}\n}}}}}}", safe_code_block(text)),
        FlatBlock::Quote(inlines) => format!("> {}", render_inlines(inlines, "[[BR]]")),
        FlatBlock::Item(list_prefix, inlines) => {
            let bullet = if list_prefix.ends_with('#') { "1." } else { "*" };
            format!(
                "{}{bullet} {}",
                " ".repeat(list_prefix.len()),
                render_inlines(inlines, "[[BR]]")
            )
        }
        FlatBlock::Rule => "----".to_owned(),
    })
}

/// Changes code that would end its block, begin a nested block, or select a processor of Trac.
fn safe_code_block(text: &str) -> String {
    let text = break_tags(text, &["{{{", "}}}"]);
    if text.trim_start().starts_with("#!") { format!("\u{2060}{text}") } else { text }
}

fn render_inlines(inlines: &[Inline], line_break: &str) -> String {
    inlines.iter().map(|inline| render_inline(inline, line_break)).collect()
}

fn render_inline(inline: &Inline, line_break: &str) -> String {
    match inline {
        Inline::Text(text) => escape_words(text),
        Inline::Code(text) => inline_code(text),
        Inline::Strong(inner) => enclose_in_marks("'''", inner, line_break),
        Inline::Emphasis(inner) => enclose_in_marks("''", inner, line_break),
        Inline::Link(url, inner) => {
            let label: String = label_text(inner).chars().map(safe_label_character).collect();
            let label = label.trim();
            if label.is_empty() { format!("[{url}]") } else { format!("[{url} {label}]") }
        }
        Inline::Break => line_break.to_owned(),
    }
}

fn enclose_in_marks(mark: &str, inner: &[Inline], line_break: &str) -> String {
    let inner = render_inlines(inner, line_break);
    if inner.trim().is_empty() { inner } else { format!("{mark}{}{mark}", inner.trim()) }
}

/// Returns the text of a link's label without emphasis and code, because Trac reads no such markup
/// in a label.
fn label_text(inlines: &[Inline]) -> String {
    let text_of = |inline: &Inline| match inline {
        Inline::Text(text) | Inline::Code(text) => text.clone(),
        Inline::Strong(inner) | Inline::Emphasis(inner) | Inline::Link(_, inner) => {
            label_text(inner)
        }
        Inline::Break => " ".to_owned(),
    };
    inlines.iter().map(text_of).collect()
}

/// Replaces a character that would end the label or begin markup.
fn safe_label_character(c: char) -> char {
    match c {
        '[' => '(',
        ']' => ')',
        '"' | '\'' | '`' | '{' | '}' => ' ',
        c => c,
    }
}

/// Writes a text. Words that could be markup are written as code.
fn escape_words(text: &str) -> String {
    let (mut output, mut unsafe_words) = (String::new(), String::new());
    for part in text.split_inclusive(' ') {
        let word = part.trim_end_matches(' ');
        let space = part.get(word.len()..).unwrap_or_default();
        if is_plain_word(word) {
            flush_unsafe_words(&mut output, &mut unsafe_words);
            output.push_str(part);
        } else {
            unsafe_words.push_str(word);
            unsafe_words.push_str(space);
        }
    }
    flush_unsafe_words(&mut output, &mut unsafe_words);
    output
}

/// Writes the collected words as code, and empties `words`.
fn flush_unsafe_words(output: &mut String, words: &mut String) {
    let words = std::mem::take(words);
    let trimmed = words.trim_end_matches(' ');
    if !trimmed.is_empty() {
        output.push_str(&inline_code(trimmed));
    }
    output.push_str(words.get(trimmed.len()..).unwrap_or_default());
}

/// Whether Trac reads the word as plain text: letters and digits, with at most one punctuation mark
/// at the end, but neither a wiki word nor a revision.
fn is_plain_word(word: &str) -> bool {
    let word = word.strip_suffix([',', '.', ':', ';', '?']).unwrap_or(word);
    let mut is_after_lower_case = false;
    let is_wiki_word = word.chars().any(|c| {
        let is_capital_after_lower_case = is_after_lower_case && c.is_uppercase();
        is_after_lower_case = c.is_lowercase();
        is_capital_after_lower_case
    });
    let mut chars = word.chars();
    let is_revision = chars.next() == Some('r') && chars.next().is_some_and(|c| c.is_numeric());
    word.chars().all(char::is_alphanumeric) && !is_wiki_word && !is_revision
}

/// Writes any text as inline code: each backtick between braces, all other text between backticks.
fn inline_code(text: &str) -> String {
    let mut output = String::new();
    for part in text.split_inclusive('`') {
        let before = part.trim_end_matches('`');
        if !before.is_empty() {
            output.push_str(&format!("`{before}`"));
        }
        if before.len() < part.len() {
            output.push_str("{{{`}}}");
        }
    }
    output
}
