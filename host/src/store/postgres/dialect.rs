//! The SQL of the rules, in PostgreSQL's form: numbered parameters, and the names of columns
//! instead of `*`. The schema has functions for the rest, such as `min` of two numbers.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Numbers the parameters: `?1` becomes `$1`, and each `?` gets the next number. Leaves texts in
/// quotes as they are. Removes a `+` before a column, with which the rules tell SQLite not to use
/// an index. `columns` has the names of the columns that are read, each followed by a comma.
pub(super) fn translate(sql: &str, columns: &str) -> String {
    let sql = name_columns(sql, columns);
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

/// As [`translate`], for an `INSERT` of several rows: each parameter is an array that contains the
/// values of one column.
pub(super) fn insert_arrays(sql: &str) -> String {
    translate(sql, "").replacen("VALUES (", "SELECT * FROM unnest(", 1)
}

/// Asks for the columns by their names instead of `*`. PostgreSQL refuses a prepared `*` once a
/// newer server has added a column. Left as they are: events, and the view for people, of which not
/// all rows have the same columns; they are read outside transactions, and such a read is repeated.
fn name_columns<'s>(sql: &'s str, columns: &str) -> Cow<'s, str> {
    let columns = columns.trim_end_matches(", ");
    let (select, returning) = ("SELECT * FROM ", "RETURNING *");
    let varies = ["FROM defect_records", "FROM events"].iter().any(|table| sql.contains(table));
    if columns.is_empty() || varies {
        return Cow::Borrowed(sql);
    }
    let sql = sql.replace(select, &format!("SELECT {columns} FROM "));
    Cow::Owned(sql.replace(returning, &format!("RETURNING {columns}")))
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
            assert_eq!(translate(sql, ""), expected);
        }
    }

    #[test]
    fn rows_are_inserted_from_arrays() {
        let sql = "INSERT INTO t (a, b) VALUES (?, ?) ON CONFLICT DO NOTHING";
        let expected = "INSERT INTO t (a, b) SELECT * FROM unnest($1, $2) ON CONFLICT DO NOTHING";
        assert_eq!(insert_arrays(sql), expected);
    }

    #[test]
    fn columns_are_asked_for_by_name() {
        for (sql, expected) in [
            ("SELECT * FROM t WHERE a = ?", "SELECT a, b FROM t WHERE a = $1"),
            ("UPDATE t SET a = ? RETURNING *", "UPDATE t SET a = $1 RETURNING a, b"),
            ("SELECT * FROM defect_records", "SELECT * FROM defect_records"),
            ("SELECT a * 2 FROM t", "SELECT a * 2 FROM t"),
        ] {
            assert_eq!(translate(sql, "a, b, "), expected);
        }
    }
}
