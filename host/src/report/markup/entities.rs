//! Escapes text for markups that know HTML's character references (Textile, Jira's wiki markup):
//! each character that could be markup is written as its number. A backslash does not work: Textile
//! has no such escape, and Jira's does not cover every character.

/// Punctuation that is not markup and needs no escape.
const PLAIN: &str = ",;'/";

/// Escapes a text. `line_start` says that the text begins a line.
pub(super) fn encode(text: &str, line_start: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    let text = if line_start { text.trim_start() } else { text };
    let (mut before, mut in_first_word) = (None, line_start);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let after = chars.peek().copied();
        let begins_line = line_start && before.is_none();
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let is_plain = match c {
            // `r12` is a revision, in Redmine. `r12ab` is a word; a marker may begin like that.
            'r' => before.is_some_and(continues_word) || !begins_with_number(chars.clone()),
            // `h1. ` and `bq. ` begin a block.
            '.' => !in_first_word,
            '-' | '_' => is_word(before) && is_word(after),
            // Before a letter, it may be a link or an emoticon.
            ':' => !begins_line && after.is_none_or(char::is_whitespace),
            c if c.is_ascii_punctuation() => PLAIN.contains(c) && !begins_line,
            _ => true,
        };
        if is_plain {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("&#{};", u32::from(c)));
        }
        in_first_word &= c.is_alphanumeric() || c == '_';
        before = Some(c);
    }
    encoded
}

/// Adds a text between two marks, without spaces beside the marks; an empty text needs no marks.
pub(super) fn push_between(written: &mut String, mark: char, text: &str) {
    let text = text.trim();
    if !text.is_empty() {
        written.push_str(&format!("{mark}{text}{mark}"));
    }
}

/// Whether a character before `r12` makes it a part of a word. `²` does not.
fn continues_word(c: char) -> bool {
    c.is_alphabetic() || c.is_ascii_digit()
}

/// Whether the next characters are digits and no letter follows them. (`²` ends a number, too.)
fn begins_with_number(rest: impl Iterator<Item = char>) -> bool {
    let mut rest = rest.peekable();
    rest.peek().is_some_and(char::is_ascii_digit)
        && rest.find(|c| !c.is_ascii_digit()).is_none_or(|c| !c.is_alphabetic())
}

/// Breaks what ends a block of code by a character that no reader sees. `tags` are in lower case.
pub(super) fn break_up(text: &str, tags: &[&str]) -> String {
    let lower = text.to_ascii_lowercase();
    let mut broken = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        broken.push(c);
        let rest = lower.get(at..).unwrap_or_default();
        if c.is_ascii_punctuation() && tags.iter().any(|tag| rest.starts_with(tag)) {
            broken.push('\u{2060}');
        }
    }
    broken
}
