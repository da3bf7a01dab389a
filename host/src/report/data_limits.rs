//! Limits the data before templates read it: removes most control characters, and shortens long
//! texts and lists.

use serde_json::Value;

use super::TestData;
use super::markup::placeholder;

/// The size to which a longer text is cut, bytes. An ellipsis follows.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Maximum number of items of each list, except the robot's log.
const ITEMS_MAX: usize = 200;
/// Maximum number of lines of the robot's log. The newest lines are kept.
pub(crate) const LOG_LINES_MAX: usize = 200;

pub(super) fn limit_lists(data: &mut TestData) {
    let lines = data.robot_logs.len();
    data.robot_logs.drain(..lines.saturating_sub(LOG_LINES_MAX));
    data.assertions.truncate(ITEMS_MAX);
    data.steps.truncate(ITEMS_MAX);
    data.requirements.truncate(ITEMS_MAX);
    data.labels.truncate(ITEMS_MAX);
    data.custom_fields.truncate(ITEMS_MAX);
    data.history.truncate(ITEMS_MAX);
    data.attachments.truncate(ITEMS_MAX);
    data.gaps.truncate(ITEMS_MAX);
}

pub(super) fn to_limited_json(data: &TestData) -> Value {
    let mut value = serde_json::to_value(data).unwrap_or_default();
    limit_texts(&mut value);
    value
}

fn limit_texts(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean_text(text),
        Value::Array(items) => items.iter_mut().for_each(limit_texts),
        Value::Object(members) => members.values_mut().for_each(limit_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Cuts a text to [`TEXT_BYTES_MAX`], and changes its line ends to `\n`. Removes characters that
/// trackers refuse, characters that make a text look like another text, and the characters of
/// placeholders.
pub(super) fn clean_text(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    let (kept, cut) = text.split_at_checked(end).unwrap_or((text, ""));
    let kept = kept.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}'], "\n");
    let mut clean: String = kept.chars().filter(|c| is_allowed_char(*c)).collect();
    if !cut.is_empty() {
        clean.push('…');
    }
    clean
}

fn is_allowed_char(c: char) -> bool {
    let is_bidi = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_noncharacter = matches!(c, '\u{fffe}' | '\u{ffff}');
    let is_control = c.is_control() && !matches!(c, '\n' | '\t');
    let is_placeholder = placeholder::occurs_in(c.encode_utf8(&mut [0; 4]));
    !(is_bidi || is_noncharacter || is_control || is_placeholder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_have_no_control_characters() {
        assert_eq!(clean_text("a\r\nb\u{1b}[31m\u{202e}\u{e000}c\td"), "a\nb[31mc\td");
        let long = clean_text(&"ä".repeat(TEXT_BYTES_MAX));
        assert_eq!(long.chars().count(), TEXT_BYTES_MAX / 2 + 1);
        assert!(long.ends_with('…'));
    }
}
