//! Compares two texts line by line, and shows them side by side with their different words marked.

use std::time::Duration;

use askama::Template;
use similar::{ChangeTag, DiffOp, TextDiff};

/// Number of equal lines that are shown before and after each difference.
const CONTEXT_LINES: usize = 3;
const ROWS_MAX: usize = 400;
/// Maximum length of a line that is shown, characters.
const LINE_CHARS_MAX: usize = 4_000;
/// Maximum duration of the comparison of all lines, and of the comparison of two lines. What was
/// not compared in this time is shown as different.
const DIFF_TIMEOUT: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Template)]
#[template(path = "console/parts/sides.html")]
pub(in crate::console) struct TextComparison {
    title: String,
    rows: Vec<ComparisonRow>,
    is_truncated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ComparisonRow {
    /// A row in place of this number of equal lines.
    Skipped(usize),
    Equal(String),
    /// The left and the right line. `None` if that text has no line here.
    Different(Option<ComparedLine>, Option<ComparedLine>),
}

/// The pieces of a line, each with `true` if the opposite line does not have it. A line without an
/// opposite line is one piece with `false`.
type ComparedLine = Vec<(bool, String)>;

impl TextComparison {
    pub(in crate::console) fn new(
        title: impl Into<String>,
        recorded: &str,
        replayed: &str,
    ) -> Self {
        let (recorded, replayed) = (with_final_newline(recorded), with_final_newline(replayed));
        let mut config = TextDiff::configure();
        let diff = config.timeout(DIFF_TIMEOUT).diff_lines(recorded.as_str(), replayed.as_str());
        let lines = |slices: Vec<&str>| slices.into_iter().map(shown_line).collect::<Vec<_>>();
        let old = lines(diff.iter_old_slices().collect());
        let new = lines(diff.iter_new_slices().collect());
        let mut rows = Vec::new();
        let last = diff.ops().len().saturating_sub(1);
        for (index, op) in diff.ops().iter().enumerate() {
            if rows.len() > ROWS_MAX {
                break;
            }
            let left = lines_in_range(&old, op.old_range());
            let right = lines_in_range(&new, op.new_range());
            match op {
                DiffOp::Equal { .. } => rows.extend(equal_rows(left, index == 0, index == last)),
                _ => rows.extend(different_rows(left, right)),
            }
        }
        let is_truncated = rows.len() > ROWS_MAX;
        rows.truncate(ROWS_MAX);
        Self { title: title.into(), rows, is_truncated }
    }
}

/// Adds a newline to a last line that has none. Otherwise this line would differ from the same line
/// with a newline.
fn with_final_newline(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}")
}

fn shown_line(line: &str) -> String {
    line.trim_end_matches(['\r', '\n']).chars().take(LINE_CHARS_MAX).collect()
}

fn lines_in_range(lines: &[String], range: std::ops::Range<usize>) -> &[String] {
    lines.get(range).unwrap_or_default()
}

/// One row replaces the lines that are not near a difference.
fn equal_rows(lines: &[String], is_first: bool, is_last: bool) -> Vec<ComparisonRow> {
    let before = if is_first { 0 } else { CONTEXT_LINES };
    let after = if is_last { 0 } else { CONTEXT_LINES };
    let row = |line: &String| ComparisonRow::Equal(line.clone());
    let hidden = lines.len().saturating_sub(before + after);
    // A row with the text "1 equal line" would need as much space as the line itself.
    if hidden < 2 {
        return lines.iter().map(row).collect();
    }
    let (head, tail) = (lines.iter().take(before), lines.iter().skip(before + hidden));
    head.map(row).chain([ComparisonRow::Skipped(hidden)]).chain(tail.map(row)).collect()
}

fn different_rows(left: &[String], right: &[String]) -> Vec<ComparisonRow> {
    let row = |index: usize| match (left.get(index), right.get(index)) {
        (Some(left), Some(right)) => {
            let (left, right) = mark_words(left, right);
            ComparisonRow::Different(Some(left), Some(right))
        }
        (left, right) => {
            let whole = |line: &String| vec![(false, line.clone())];
            ComparisonRow::Different(left.map(whole), right.map(whole))
        }
    };
    // One row more than the maximum shows that the comparison is truncated.
    (0..left.len().max(right.len())).take(ROWS_MAX + 1).map(row).collect()
}

/// Marks the words that only one of two lines has.
fn mark_words(left: &str, right: &str) -> (ComparedLine, ComparedLine) {
    let diff = TextDiff::configure().timeout(DIFF_TIMEOUT).diff_words(left, right);
    let (mut old, mut new) = (ComparedLine::new(), ComparedLine::new());
    for change in diff.iter_all_changes() {
        let text = change.value();
        match change.tag() {
            ChangeTag::Equal => {
                add_piece(&mut old, false, text);
                add_piece(&mut new, false, text);
            }
            ChangeTag::Delete => add_piece(&mut old, true, text),
            ChangeTag::Insert => add_piece(&mut new, true, text),
        }
    }
    (old, new)
}

fn add_piece(line: &mut ComparedLine, differs: bool, text: &str) {
    match line.last_mut() {
        Some((last, piece)) if *last == differs => piece.push_str(text),
        _ => line.push((differs, text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(differs: bool, text: &str) -> (bool, String) {
        (differs, text.to_owned())
    }

    #[test]
    fn a_changed_line_shows_the_words_that_differ() {
        let sides = TextComparison::new("Body", "a\nFails in red\nz\n", "a\nBroken in red\nz\n");
        let left = vec![piece(true, "Fails"), piece(false, " in red")];
        let right = vec![piece(true, "Broken"), piece(false, " in red")];
        assert_eq!(
            sides.rows,
            [
                ComparisonRow::Equal("a".to_owned()),
                ComparisonRow::Different(Some(left), Some(right)),
                ComparisonRow::Equal("z".to_owned()),
            ]
        );
    }

    #[test]
    fn equal_lines_far_from_a_difference_are_counted() {
        let equal: String = (0..50).map(|n| format!("{n}\n")).collect();
        let sides =
            TextComparison::new("Body", &format!("{equal}old"), &format!("{equal}old\nmore"));
        assert_eq!(sides.rows.first(), Some(&ComparisonRow::Skipped(48)));
        assert_eq!(
            sides.rows.last(),
            Some(&ComparisonRow::Different(None, Some(vec![piece(false, "more")])))
        );
    }

    #[test]
    fn a_long_comparison_is_truncated_and_its_texts_are_escaped() {
        let long_text: String = (0..1_000).map(|n| format!("<b>{n}\n")).collect();
        let sides = TextComparison::new("Body", "", &long_text);
        assert!(sides.is_truncated && sides.rows.len() == ROWS_MAX);
        let html = sides.render().unwrap();
        assert!(!html.contains("<b>") && html.contains("&#60;b&#62;0"), "{html}");
    }
}
