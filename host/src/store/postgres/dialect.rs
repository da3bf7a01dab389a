//! The SQL of the rules, in PostgreSQL's form: numbered parameters. The schema has functions for the
//! rest, such as `min` of two numbers.

use std::fmt::Write as _;

/// Numbers the parameters: `?1` becomes `$1`, and each `?` gets the next number. Leaves texts in
/// quotes as they are. Removes a `+` before a column, with which the rules tell SQLite not to use an
/// index.
pub(super) fn translate(sql: &str) -> String {
    let mut translated = String::with_capacity(sql.len() + 16);
    let (mut number, mut in_text) = (0, false);
    let mut characters = sql.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' => in_text = !in_text,
            '?' if !in_text => {
                translated.push('$');
                if characters.peek().is_none_or(|next| !next.is_ascii_digit()) {
                    number += 1;
                    let _ = write!(translated, "{number}");
                }
                continue;
            }
            '+' if !in_text && characters.peek().is_some_and(|next| next.is_alphabetic()) => {
                continue;
            }
            _ => {}
        }
        translated.push(character);
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_get_numbers_and_texts_stay() {
        for (sql, expected) in [
            ("a = ? AND b = ?", "a = $1 AND b = $2"),
            ("a = ?2 OR b = ?12", "a = $2 OR b = $12"),
            ("a = '?' AND b = ?", "a = '?' AND b = $1"),
            ("GROUP BY +a, ?1 + ?2, '+a'", "GROUP BY a, $1 + $2, '+a'"),
        ] {
            assert_eq!(translate(sql), expected);
        }
    }
}
