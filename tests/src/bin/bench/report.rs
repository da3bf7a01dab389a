//! Formats the measured figures with their goals, as text, Markdown or JSON.

use serde_json::{Value, json};

use crate::goals::{GOALS, Goal};

/// The measurement whose Markdown table has a row for each language and a column for each kind of
/// figure.
const CROSS_TABLE_MEASUREMENT: &str = "languages";

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub(crate) measurement: &'static str,
    /// A description of the measured value. The figure's goal has the same name.
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// The median of the rounds' values.
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Other values of the same rounds, such as latencies. Tables show them only if the figure has
    /// no goal.
    pub(crate) note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The quotient of two values.
    Ratio,
    PerSecond,
    Microseconds,
    Milliseconds,
    Kilobytes,
    Number,
}

impl Unit {
    fn symbol(self) -> &'static str {
        match self {
            Self::Ratio => "x",
            Self::PerSecond => "/s",
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Kilobytes => "KB",
            Self::Number => "",
        }
    }
}

impl Figure {
    /// Panics if `rounds` is empty.
    pub(crate) fn from_rounds(
        measurement: &'static str,
        name: impl Into<String>,
        unit: Unit,
        mut rounds: Vec<f64>,
    ) -> Self {
        rounds.sort_by(f64::total_cmp);
        let (low, high) = (rounds[0], rounds[rounds.len() - 1]);
        let middle = rounds.len() / 2;
        let median = match rounds.len() % 2 {
            0 => f64::midpoint(rounds[middle - 1], rounds[middle]),
            _ => rounds[middle],
        };
        Self { measurement, name: name.into(), unit, median, low, high, note: String::new() }
    }

    pub(crate) fn from_one_value(
        measurement: &'static str,
        name: impl Into<String>,
        unit: Unit,
        value: f64,
    ) -> Self {
        Self::from_rounds(measurement, name, unit, vec![value])
    }

    pub(crate) fn with_note(mut self, note: String) -> Self {
        self.note = note;
        self
    }

    fn goal(&self) -> Option<&'static Goal> {
        GOALS.iter().find(|goal| goal.figure == self.name)
    }

    fn median_text(&self) -> String {
        format!("{} {}", format_number(self.median), self.unit.symbol())
    }

    /// Returns an empty text if the lowest and the highest value are equal.
    fn range_text(&self) -> String {
        if self.low == self.high {
            return String::new();
        }
        format!("{} to {}", format_number(self.low), format_number(self.high))
    }

    /// Returns the goal, and whether the median meets the goal. Returns the note of a figure that
    /// has no goal.
    fn goal_text(&self) -> String {
        let Some(goal) = self.goal() else { return self.note.clone() };
        format!("{goal}: {}", if goal.bound.is_met_by(self.median) { "yes" } else { "no" })
    }

    fn to_json(&self) -> Value {
        let goal = self.goal();
        json!({
            "measurement": self.measurement,
            "name": self.name,
            "unit": self.unit.symbol(),
            "median": self.median,
            "low": self.low,
            "high": self.high,
            "note": self.note,
            "goal": goal.map(ToString::to_string),
            "reached": goal.map(|goal| goal.bound.is_met_by(self.median)),
        })
    }
}

/// Formats a number without an exponent. A smaller number gets more decimal places, at most four.
pub(crate) fn format_number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        value if value >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// Formats all figures as a table with aligned columns, for a terminal.
pub(crate) fn text_table(figures: &[Figure]) -> String {
    let rows = figures
        .iter()
        .map(|it| [it.name.clone(), it.median_text(), it.range_text(), it.goal_text()]);
    let head = ["figure", "median", "rounds", "goal"].map(str::to_owned);
    let rows: Vec<_> = [head].into_iter().chain(rows).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let (first, second, third) = (width(0), width(1), width(2));
    let line = |row: &[String; 4]| {
        let [name, median, range, goal] = row;
        let line = format!("{name:<first$}  {median:>second$}  {range:<third$}  {goal}");
        line.trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Formats one table for each measurement, for `docs/performance.md`.
pub(crate) fn markdown_tables(figures: &[Figure]) -> String {
    let is_in_cross_table = |it: &&Figure| it.measurement == CROSS_TABLE_MEASUREMENT;
    let crossed: Vec<_> = figures.iter().filter(is_in_cross_table).collect();
    let mut text = if crossed.is_empty() { String::new() } else { cross_table(&crossed) };
    let mut measurement = "";
    for figure in figures.iter().filter(|it| !is_in_cross_table(it)) {
        if figure.measurement != measurement {
            measurement = figure.measurement;
            text += &format!(
                "\n### {measurement}\n\n| figure | median | rounds | goal |\n|---|---|---|---|\n"
            );
        }
        let (median, range, goal) = (figure.median_text(), figure.range_text(), figure.goal_text());
        text += &format!("| {} | {median} | {range} | {goal} |\n", figure.name);
    }
    text.trim_start().to_owned()
}

/// Formats figures whose names have the form `size, Rust`. The table has a row for each language,
/// and a column for each kind of figure.
fn cross_table(figures: &[&Figure]) -> String {
    let mut columns = Vec::new();
    let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
    for figure in figures {
        let (kind, language) = figure.name.rsplit_once(", ").unwrap_or((&figure.name, ""));
        if !columns.contains(&kind) {
            columns.push(kind);
        }
        if rows.last().is_none_or(|(row, _)| *row != language) {
            rows.push((language, Vec::new()));
        }
        let goal = figure.goal().map(|_| format!(" ({})", figure.goal_text())).unwrap_or_default();
        if let Some((_, cells)) = rows.last_mut() {
            cells.push(figure.median_text() + &goal);
        }
    }
    let line = |first: &str, cells: &[String]| format!("| {first} | {} |\n", cells.join(" | "));
    let head: Vec<_> = columns.iter().map(|it| (*it).to_owned()).collect();
    let separator = format!("|---|{}\n", "---|".repeat(head.len()));
    let rows: String = rows.iter().map(|(language, cells)| line(language, cells)).collect();
    format!("\n### {CROSS_TABLE_MEASUREMENT}\n\n{}{separator}{rows}", line("", &head))
}

pub(crate) fn to_json(figures: &[Figure]) -> Value {
    json!({"figures": figures.iter().map(Figure::to_json).collect::<Vec<_>>()})
}

/// Returns the goals of these measurements for which no figure exists.
pub(crate) fn goals_without_figure(figures: &[Figure], measurements: &[&str]) -> Vec<&'static str> {
    let has_figure = |goal: &Goal| figures.iter().any(|figure| figure.name == goal.figure);
    let missing =
        GOALS.iter().filter(|it| measurements.contains(&it.measurement) && !has_figure(it));
    missing.map(|goal| goal.figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_figures() -> Vec<Figure> {
        let create = GOALS[0].figure;
        vec![
            Figure::from_rounds("throughput", create, Unit::Ratio, vec![0.25, 0.21, 0.23]),
            Figure::from_rounds("calls", "any call", Unit::Microseconds, vec![12.0, 10.0]),
            Figure::from_one_value("memory", "a thing", Unit::Kilobytes, 1234.5),
        ]
    }

    #[test]
    fn a_figure_contains_the_median_the_lowest_and_the_highest_value() {
        let [create, call, thing] = sample_figures().try_into().unwrap();
        assert_eq!((create.median, create.low, create.high), (0.23, 0.21, 0.25));
        assert_eq!((call.median, call.low, call.high), (11.0, 10.0, 12.0));
        assert_eq!(
            (thing.median_text(), thing.range_text()),
            ("1234 KB".to_owned(), String::new())
        );
    }

    #[test]
    fn each_figure_is_shown_with_its_goal() {
        let table = text_table(&sample_figures());
        let [head, create, call, _] = table.lines().collect::<Vec<_>>().try_into().unwrap();
        assert!(head.starts_with("figure"), "{head}");
        assert!(create.contains("0.230 x") && create.contains("0.210 to 0.250"), "{create}");
        assert!(create.ends_with("at least 0.2 (aim 0.36): yes"), "{create}");
        assert!(call.ends_with("10.0 to 12.0"), "{call}");
    }

    #[test]
    fn a_missed_goal_is_shown_in_every_format() {
        let missed = [Figure::from_one_value("throughput", GOALS[0].figure, Unit::Ratio, 0.1)];
        assert!(text_table(&missed).contains("at least 0.2 (aim 0.36): no"));
        assert!(markdown_tables(&missed).contains("| at least 0.2 (aim 0.36): no |"));
        assert_eq!(to_json(&missed)["figures"][0]["reached"], false);
    }

    #[test]
    fn markdown_contains_one_table_for_each_measurement() {
        let text = markdown_tables(&sample_figures());
        assert_eq!(text.matches("### ").count(), 3);
        assert_eq!(text.matches("| figure |").count(), 3);
    }

    #[test]
    fn the_markdown_table_of_languages_has_one_row_for_each_language() {
        let figure = |name, value| {
            Figure::from_one_value(CROSS_TABLE_MEASUREMENT, name, Unit::Kilobytes, value)
        };
        let sizes = [("size, Rust", 150.0), ("memory, Rust", 9.0), ("size, Go", 7_000.0)];
        let text =
            markdown_tables(&[&sample_figures()[..], &sizes.map(|it| figure(it.0, it.1))].concat());
        assert!(
            text.starts_with("### languages\n\n|  | size | memory |\n|---|---|---|\n"),
            "{text}"
        );
        assert!(text.contains("| Rust | 150 KB (at most 200: yes) | 9.00 KB |\n"), "{text}");
        assert!(text.contains("| Go | 7000 KB (at most 6000: no) |\n"), "{text}");
        assert_eq!(text.matches("### ").count(), 4);
    }

    #[test]
    fn goals_without_a_measured_figure_are_listed() {
        let missing = goals_without_figure(&sample_figures(), &["throughput"]);
        assert!(!missing.contains(&GOALS[0].figure));
        assert!(missing.len() > 3, "{missing:?}");
        assert!(goals_without_figure(&[], &[]).is_empty());
    }
}
