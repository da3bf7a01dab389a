//! Escapes text for markups that support HTML's character references (Textile, Jira's wiki markup).
//! Each character that could be markup is written as a reference with its number. Backslashes
//! cannot replace these references: Textile has no such escape, and Jira's escape does not work for
//! every character.

/// Punctuation that is not markup, except as the first character of a line.
const SAFE_PUNCTUATION: &str = ",;'/";

/// Escapes a text. If `is_line_start` is true, the text begins a line, and white space at its
/// beginning is left out.
pub(super) fn escape(text: &str, is_line_start: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    let text = if is_line_start { text.trim_start() } else { text };
    let (mut previous, mut is_in_first_word) = (None, is_line_start);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        let is_first_in_line = is_line_start && previous.is_none();
        let is_alphanumeric = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let is_safe = match c {
            // Redmine links `r12` to a revision. `r12ab` is only a word and is not escaped, because
            // a marker may begin like this, and a marker must stay unchanged.
            'r' => previous.is_some_and(continues_word) || !begins_with_number(chars.clone()),
            // The full stop in `h1. ` and `bq. ` begins a block.
            '.' => !is_in_first_word,
            '-' | '_' => is_alphanumeric(previous) && is_alphanumeric(next),
            // Escape a colon before a character that is not white space: the colon may belong to a
            // link or an emoticon.
            ':' => !is_first_in_line && next.is_none_or(char::is_whitespace),
            c if c.is_ascii_punctuation() => SAFE_PUNCTUATION.contains(c) && !is_first_in_line,
            _ => true,
        };
        if is_safe {
            escaped.push(c);
        } else {
            escaped.push_str(&format!("&#{};", u32::from(c)));
        }
        is_in_first_word &= c.is_alphanumeric() || c == '_';
        previous = Some(c);
    }
    escaped
}

/// Adds a text between two marks to `written`, without white space at the ends of the text. Adds
/// nothing if only white space is in the text.
pub(super) fn push_between(written: &mut String, mark: char, text: &str) {
    let text = text.trim();
    if !text.is_empty() {
        written.push_str(&format!("{mark}{text}{mark}"));
    }
}

/// Whether a word continues after this character. If so, a following `r12` is not a link to a
/// revision. `²` ends a word.
fn continues_word(c: char) -> bool {
    c.is_alphabetic() || c.is_ascii_digit()
}

/// Whether the next characters are digits, and no letter follows the digits. Any other character
/// may follow, also `²`, which is no ASCII digit.
fn begins_with_number(rest: impl Iterator<Item = char>) -> bool {
    let mut rest = rest.peekable();
    rest.peek().is_some_and(char::is_ascii_digit)
        && rest.find(|c| !c.is_ascii_digit()).is_none_or(|c| !c.is_alphabetic())
}

/// Inserts an invisible word joiner into each occurrence of one of the `tags`, so that a text in a
/// block of code cannot end the block. Each of the `tags` is in lower case and begins with
/// punctuation.
pub(super) fn break_tags(text: &str, tags: &[&str]) -> String {
    let lower = text.to_ascii_lowercase();
    let mut broken = String::with_capacity(text.len());
    for (index, c) in text.char_indices() {
        broken.push(c);
        let rest = lower.get(index..).unwrap_or_default();
        if c.is_ascii_punctuation() && tags.iter().any(|tag| rest.starts_with(tag)) {
            broken.push('\u{2060}');
        }
    }
    broken
}
