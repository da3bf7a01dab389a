//! Two texts side by side, line by line, with what was removed and what was added.

use std::time::Duration;

use askama::Template;
use similar::{ChangeTag, DiffOp, TextDiff};

/// Equal lines that are shown around each difference.
const CONTEXT: usize = 3;
/// Maximum number of rows; a longer comparison is cut.
const ROWS_MAX: usize = 400;
/// Maximum length of a line that is shown.
const LINE_CHARS_MAX: usize = 4_000;
/// After this time, what was not compared yet counts as replaced.
const TIMEOUT: Duration = Duration::from_millis(100);

/// A comparison of two texts.
#[derive(Debug, Clone, Template)]
#[template(path = "console/parts/sides.html")]
pub(in crate::console) struct Sides {
    title: String,
    rows: Vec<Row>,
    is_cut: bool,
}

/// A row of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Row {
    /// This many equal lines.
    Skipped(usize),
    Equal(String),
    /// A line of each text; one that has none is absent.
    Different(Option<Line>, Option<Line>),
}

/// A line in pieces, with whether the other line lacks the piece.
type Line = Vec<(bool, String)>;

impl Sides {
    /// Compares the lines of two texts.
    pub(in crate::console) fn new(
        title: impl Into<String>,
        recorded: &str,
        replayed: &str,
    ) -> Self {
        let (recorded, replayed) = (complete(recorded), complete(replayed));
        let mut configured = TextDiff::configure();
        let diff = configured.timeout(TIMEOUT).diff_lines(recorded.as_str(), replayed.as_str());
        let lines = |slices: Vec<&str>| slices.into_iter().map(shown).collect::<Vec<_>>();
        let old = lines(diff.iter_old_slices().collect());
        let new = lines(diff.iter_new_slices().collect());
        let mut rows = Vec::new();
        let last = diff.ops().len().saturating_sub(1);
        for (index, op) in diff.ops().iter().enumerate() {
            let (left, right) = (part(&old, op.old_range()), part(&new, op.new_range()));
            match op {
                DiffOp::Equal { .. } => rows.extend(equal(left, index == 0, index == last)),
                _ => rows.extend(different(left, right)),
            }
        }
        let is_cut = rows.len() > ROWS_MAX;
        rows.truncate(ROWS_MAX);
        Self { title: title.into(), rows, is_cut }
    }
}

/// The text with the end of its last line, without which that line would differ from an equal one.
fn complete(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}")
}

/// A line without its end, and not longer than a page can show.
fn shown(line: &str) -> String {
    line.trim_end_matches(['\r', '\n']).chars().take(LINE_CHARS_MAX).collect()
}

fn part(lines: &[String], range: std::ops::Range<usize>) -> &[String] {
    lines.get(range).unwrap_or_default()
}

/// Equal lines, without those that are far from each difference.
fn equal(lines: &[String], is_first: bool, is_last: bool) -> Vec<Row> {
    let before = if is_first { 0 } else { CONTEXT };
    let after = if is_last { 0 } else { CONTEXT };
    let row = |line: &String| Row::Equal(line.clone());
    let hidden = lines.len().saturating_sub(before + after);
    // A row that says that one line is hidden takes as much room as the line.
    if hidden < 2 {
        return lines.iter().map(row).collect();
    }
    let (head, tail) = (lines.iter().take(before), lines.iter().skip(before + hidden));
    head.map(row).chain([Row::Skipped(hidden)]).chain(tail.map(row)).collect()
}

fn different(left: &[String], right: &[String]) -> Vec<Row> {
    let row = |index: usize| match (left.get(index), right.get(index)) {
        (Some(left), Some(right)) => {
            let (left, right) = pieces(left, right);
            Row::Different(Some(left), Some(right))
        }
        (left, right) => {
            let whole = |line: &String| vec![(false, line.clone())];
            Row::Different(left.map(whole), right.map(whole))
        }
    };
    (0..left.len().max(right.len())).map(row).collect()
}

/// Two lines with the words that differ.
fn pieces(left: &str, right: &str) -> (Line, Line) {
    let diff = TextDiff::configure().timeout(TIMEOUT).diff_words(left, right);
    let (mut old, mut new) = (Line::new(), Line::new());
    for change in diff.iter_all_changes() {
        let text = change.value();
        match change.tag() {
            ChangeTag::Equal => {
                add(&mut old, false, text);
                add(&mut new, false, text);
            }
            ChangeTag::Delete => add(&mut old, true, text),
            ChangeTag::Insert => add(&mut new, true, text),
        }
    }
    (old, new)
}

fn add(line: &mut Line, differs: bool, text: &str) {
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
        let sides = Sides::new("Body", "a\nFails in red\nz\n", "a\nBroken in red\nz\n");
        let left = vec![piece(true, "Fails"), piece(false, " in red")];
        let right = vec![piece(true, "Broken"), piece(false, " in red")];
        assert_eq!(
            sides.rows,
            [
                Row::Equal("a".to_owned()),
                Row::Different(Some(left), Some(right)),
                Row::Equal("z".to_owned()),
            ]
        );
    }

    #[test]
    fn equal_lines_far_from_a_difference_are_counted() {
        let before: String = (0..50).map(|n| format!("{n}\n")).collect();
        let sides = Sides::new("Body", &format!("{before}old"), &format!("{before}old\nmore"));
        assert_eq!(sides.rows.first(), Some(&Row::Skipped(48)));
        assert_eq!(
            sides.rows.last(),
            Some(&Row::Different(None, Some(vec![piece(false, "more")])))
        );
    }

    #[test]
    fn a_long_comparison_is_cut_and_a_text_never_becomes_markup() {
        let many: String = (0..1_000).map(|n| format!("<b>{n}\n")).collect();
        let sides = Sides::new("Body", "", &many);
        assert!(sides.is_cut && sides.rows.len() == ROWS_MAX);
        let html = sides.render().unwrap();
        assert!(!html.contains("<b>") && html.contains("&#60;b&#62;0"), "{html}");
    }
}
