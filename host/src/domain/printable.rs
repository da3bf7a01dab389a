//! Makes an untrusted text safe to show on a terminal, in a log or in a problem response. The
//! result has no control character and no format character. Such characters can move the cursor, be
//! invisible, or change the direction of the text.

/// Characters of the categories Cf, Zl and Zp of Unicode 17, which change how the text around them
/// is shown.
const FORMAT_CHARACTERS: [(char, char); 22] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
    // The Hangul fillers are in other categories, but they are invisible too.
    ('\u{115f}', '\u{1160}'),
    ('\u{3164}', '\u{3164}'),
];

/// Whether a character can be shown unchanged: it is neither a control character (C0, DEL, C1) nor
/// a format character.
#[must_use]
pub fn is_printable(c: char) -> bool {
    !c.is_control() && !FORMAT_CHARACTERS.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// Converts a text to one printable line: `\n`, `\r\n` and tabs become spaces, and all other
/// unprintable characters are escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' | '\t' => line.push(' '),
            c if is_printable(c) => line.push(c),
            c => line.extend(c.escape_unicode()),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_invisible_characters_are_escaped() {
        for (text, shown) in [
            ("\u{1b}[2Jx", "\\u{1b}[2Jx"),
            ("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}"),
            ("a\rb\u{7f}", "a\\u{d}b\\u{7f}"),
            ("a\nb\tc\r\nd", "a b c d"),
            ("\u{202e}moc.live\u{2066}", "\\u{202e}moc.live\\u{2066}"),
            ("a\u{200b}b\u{feff}\u{2028}", "a\\u{200b}b\\u{feff}\\u{2028}"),
            ("\u{e0041}\u{ad}", "\\u{e0041}\\u{ad}"),
            ("Grüße, 你好, שלום, 🙂", "Grüße, 你好, שלום, 🙂"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
