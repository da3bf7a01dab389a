//! Translates the SQL statements of the store's rules (`store/sql`) into SQL of PostgreSQL: numbers
//! the parameters, and replaces `*` by the names of columns. Never executes a statement. Functions
//! that PostgreSQL lacks, such as `min` of two numbers, are defined in the schema.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Translates one statement. `?1` becomes `$1`, and each `?` becomes `$` with the next number;
/// texts in quotes do not change. Removes a `+` before a column, which only tells SQLite not to use
/// an index. `columns` contains the names of the columns that are read, each followed by a comma;
/// if it is empty, `*` stays.
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

/// Like [`translate`], for an `INSERT` of several rows: each parameter becomes an array with the
/// values of one column.
pub(super) fn translate_insert(sql: &str) -> String {
    translate(sql, "").replacen("VALUES (", "SELECT * FROM unnest(", 1)
}

/// Replaces `*` by the names of the columns, because PostgreSQL refuses a prepared `SELECT *` after
/// a newer server has added a column. Does not change statements about `events` and the view
/// `defect_records`, because not all of these statements read the same columns. Most of these
/// statements run outside transactions, where a refused read is repeated.
fn name_columns<'s>(sql: &'s str, columns: &str) -> Cow<'s, str> {
    let columns = columns.trim_end_matches(", ");
    let (select, returning) = ("SELECT * FROM ", "RETURNING *");
    let has_other_columns =
        ["FROM defect_records", "FROM events"].iter().any(|table| sql.contains(table));
    if columns.is_empty() || has_other_columns {
        return Cow::Borrowed(sql);
    }
    let sql = sql.replace(select, &format!("SELECT {columns} FROM "));
    Cow::Owned(sql.replace(returning, &format!("RETURNING {columns}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_and_texts_in_quotes_do_not_change() {
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
    fn an_insert_of_several_rows_uses_arrays() {
        let sql = "INSERT INTO t (a, b) VALUES (?, ?) ON CONFLICT DO NOTHING";
        let expected = "INSERT INTO t (a, b) SELECT * FROM unnest($1, $2) ON CONFLICT DO NOTHING";
        assert_eq!(translate_insert(sql), expected);
    }

    #[test]
    fn columns_replace_the_asterisk() {
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
