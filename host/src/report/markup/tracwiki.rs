//! The wiki markup of Trac. Its escape character works only before text that would be markup
//! without it, and Trac reads many words as links. So words that are not plain are written as code,
//! in which Trac reads no markup.

use super::document::{Document, Inline};
use super::entities::break_up;
use super::flat::{self, Flat};

pub(super) fn render(document: &Document) -> String {
    flat::render(document, |block| match block {
        Flat::Paragraph(inlines) => line(inlines, "[[BR]]"),
        Flat::Heading(level, inlines) => {
            let marks = "=".repeat(usize::from(*level));
            format!("{marks} {} {marks}", line(inlines, " "))
        }
        Flat::Code(text) => format!("{{{{{{\n{}\n}}}}}}", code_lines(text)),
        Flat::Quote(inlines) => format!("> {}", line(inlines, "[[BR]]")),
        Flat::Item(lists, inlines) => {
            let bullet = if lists.ends_with('#') { "1." } else { "*" };
            format!("{}{bullet} {}", " ".repeat(lists.len()), line(inlines, "[[BR]]"))
        }
        Flat::Rule => "----".to_owned(),
    })
}

/// Changes lines of code that would end the code, nest it, or select a processor.
fn code_lines(text: &str) -> String {
    let text = break_up(text, &["{{{", "}}}"]);
    if text.trim_start().starts_with("#!") { format!("\u{2060}{text}") } else { text }
}

fn line(inlines: &[Inline], line_break: &str) -> String {
    inlines.iter().map(|it| inline(it, line_break)).collect()
}

fn inline(inline: &Inline, line_break: &str) -> String {
    match inline {
        Inline::Text(text) => words(text),
        Inline::Code(text) => code(text),
        Inline::Strong(inner) => between("'''", inner, line_break),
        Inline::Emphasis(inner) => between("''", inner, line_break),
        Inline::Link(url, inner) => {
            let label: String = label(inner).chars().map(no_bracket).collect();
            let label = label.trim();
            if label.is_empty() { format!("[{url}]") } else { format!("[{url} {label}]") }
        }
        Inline::Break => line_break.to_owned(),
    }
}

fn between(mark: &str, inner: &[Inline], line_break: &str) -> String {
    let inner = line(inner, line_break);
    if inner.trim().is_empty() { inner } else { format!("{mark}{}{mark}", inner.trim()) }
}

/// The text of a link's label, in which Trac reads no markup.
fn label(inlines: &[Inline]) -> String {
    let text = |inline: &Inline| match inline {
        Inline::Text(text) | Inline::Code(text) => text.clone(),
        Inline::Strong(inner) | Inline::Emphasis(inner) | Inline::Link(_, inner) => label(inner),
        Inline::Break => " ".to_owned(),
    };
    inlines.iter().map(text).collect()
}

fn no_bracket(c: char) -> char {
    match c {
        '[' => '(',
        ']' => ')',
        '"' | '\'' | '`' | '{' | '}' => ' ',
        c => c,
    }
}

/// Writes the words of a text; a word that could be markup is written as code.
fn words(text: &str) -> String {
    let (mut written, mut unsafe_words) = (String::new(), String::new());
    for part in text.split_inclusive(' ') {
        let word = part.trim_end_matches(' ');
        let space = part.get(word.len()..).unwrap_or_default();
        if is_plain(word) {
            end_code(&mut written, &mut unsafe_words);
            written.push_str(part);
        } else {
            unsafe_words.push_str(word);
            unsafe_words.push_str(space);
        }
    }
    end_code(&mut written, &mut unsafe_words);
    written
}

fn end_code(written: &mut String, words: &mut String) {
    let words = std::mem::take(words);
    let trimmed = words.trim_end_matches(' ');
    if !trimmed.is_empty() {
        written.push_str(&code(trimmed));
    }
    written.push_str(words.get(trimmed.len()..).unwrap_or_default());
}

/// Whether a word is not markup: letters and digits, perhaps with a full stop, but neither a wiki
/// word nor a revision.
fn is_plain(word: &str) -> bool {
    let word = word.strip_suffix([',', '.', ':', ';', '?']).unwrap_or(word);
    let mut after_lower = false;
    let is_wiki_word = word.chars().any(|c| {
        let capital = after_lower && c.is_uppercase();
        after_lower = c.is_lowercase();
        capital
    });
    let mut chars = word.chars();
    let is_revision = chars.next() == Some('r') && chars.next().is_some_and(|c| c.is_numeric());
    word.chars().all(char::is_alphanumeric) && !is_wiki_word && !is_revision
}

/// Writes code of any content: between braces if it contains backticks, else between backticks.
fn code(text: &str) -> String {
    let mut written = String::new();
    for part in text.split_inclusive('`') {
        let before = part.trim_end_matches('`');
        if !before.is_empty() {
            written.push_str(&format!("`{before}`"));
        }
        if before.len() < part.len() {
            written.push_str("{{{`}}}");
        }
    }
    written
}
