//! Placeholders, which replace values in the text of an expanded template until the text is parsed.
//! A placeholder consists of the number of the value between two private-use characters, which
//! CommonMark reads as parts of a word.

const PLACEHOLDER_BEGIN: char = '\u{e000}';
const PLACEHOLDER_END: char = '\u{e001}';

pub(in crate::report) fn for_value(number: usize) -> String {
    format!("{PLACEHOLDER_BEGIN}{number}{PLACEHOLDER_END}")
}

/// Whether a text contains a character that begins or ends a placeholder.
pub(in crate::report) fn occurs_in(text: &str) -> bool {
    text.contains([PLACEHOLDER_BEGIN, PLACEHOLDER_END])
}

/// Replaces the placeholders in a text by their values. A placeholder without a value is removed.
pub(in crate::report) fn resolve(text: &str, values: &[String]) -> String {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(PLACEHOLDER_BEGIN) {
        resolved.push_str(before);
        let (number, after) = after.split_once(PLACEHOLDER_END).unwrap_or((after, ""));
        let value = number.parse::<usize>().ok().and_then(|number| values.get(number));
        resolved.push_str(value.map(String::as_str).unwrap_or_default());
        rest = after;
    }
    resolved.push_str(rest);
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_replace_their_placeholders() {
        let values = ["a".to_owned(), "**b**".to_owned()];
        let text = format!("{} and {}; {}", for_value(1), for_value(0), for_value(2));
        assert_eq!(resolve(&text, &values), "**b** and a; ");
        assert_eq!(resolve("x\u{e000}", &values), "x");
    }
}
