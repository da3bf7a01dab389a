//! Parses the server's page `/metrics`.

use std::collections::{BTreeMap, BTreeSet};

use crate::Answer;

/// The metrics of one page.
#[derive(Debug)]
pub struct MetricsPage {
    series: Vec<Series>,
    /// The type of each metric. The keys are the names that queries use, so the names of counters
    /// end in `_total`.
    pub types: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl MetricsPage {
    /// Parses the answer of `/metrics`.
    #[must_use]
    #[track_caller]
    pub fn read(answer: &Answer) -> Self {
        answer.assert_status(200);
        let content_type = answer.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("application/openmetrics-text"), "{content_type}");
        assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
        let lines = || answer.body.lines();
        let types = lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(|line| {
            let (name, kind) = line.split_once(' ').expect("a name and a type");
            let suffix = if kind == "counter" { "_total" } else { "" };
            (format!("{name}{suffix}"), kind.to_owned())
        });
        let series = lines().filter(|line| !line.starts_with('#')).map(Series::parse);
        Self { types: types.collect(), series: series.collect() }
    }

    /// Returns the sum of the series that have this name and these labels. Returns `None` if there
    /// is no such series.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has_labels = |it: &Series| {
            labels.iter().all(|(name, value)| it.labels.get(*name).is_some_and(|it| it == value))
        };
        let found: Vec<_> =
            self.series.iter().filter(|it| it.name == name && has_labels(it)).collect();
        (!found.is_empty()).then(|| found.iter().map(|it| it.value).sum())
    }

    /// Returns the names of all labels of a metric. For a histogram, `name` has no suffix such as
    /// `_bucket`, and the result does not contain the label `le` of the buckets.
    #[must_use]
    pub fn labels(&self, name: &str) -> BTreeSet<String> {
        let is_of_metric = |it: &&Series| {
            let suffix = it.name.strip_prefix(name);
            suffix.is_some_and(|it| ["", "_sum", "_count", "_bucket"].contains(&it))
        };
        let all = self.series.iter().filter(is_of_metric).flat_map(|it| it.labels.keys());
        all.filter(|name| *name != "le").cloned().collect()
    }

    /// Returns the number of series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Returns whether the page contains no series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

impl Series {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').expect("labels in braces");
        let pairs = labels.split("\",").filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        Self { name: name.to_owned(), labels: pairs.collect(), value }
    }
}
