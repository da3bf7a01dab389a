//! A placeholder takes the place of a value in a canonical text: the value's number between
//! characters for private use, which CommonMark reads as a word.

const BEGIN: char = '\u{e000}';
const END: char = '\u{e001}';

/// The placeholder of the value with this number.
pub(in crate::report) fn of(number: usize) -> String {
    format!("{BEGIN}{number}{END}")
}

/// Whether a text contains a character that placeholders are made of.
pub(in crate::report) fn is_in(text: &str) -> bool {
    text.contains([BEGIN, END])
}

/// Replaces the placeholders in a text by their values.
pub(in crate::report) fn resolve(text: &str, values: &[String]) -> String {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        resolved.push_str(before);
        let (number, after) = after.split_once(END).unwrap_or((after, ""));
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
        let text = format!("{} and {}; {}", of(1), of(0), of(2));
        assert_eq!(resolve(&text, &values), "**b** and a; ");
        assert_eq!(resolve("x\u{e000}", &values), "x");
    }
}
