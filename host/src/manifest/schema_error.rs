//! The error of a settings schema: where in the schema the problem is, and what the problem is.

use std::fmt;

/// Why a settings schema is refused. Reads as one sentence, whose subject is the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// JSON Pointer such as `/properties/url/type`. Empty for the schema itself.
    place: String,
    /// For example `must be a string`.
    problem: String,
}

impl SchemaError {
    /// A problem of the object that is being read.
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { place: String::new(), problem: problem.into() }
    }

    /// A problem of one keyword of the object that is being read.
    pub(super) fn at(keyword: &str, problem: impl Into<String>) -> Self {
        Self::new(problem).within(keyword)
    }

    /// The same problem, seen from the object that contains this one under `name`.
    pub(super) fn within(self, name: &str) -> Self {
        Self { place: format!("/{name}{}", self.place), problem: self.problem }
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { "the schema" } else { &self.place };
        write!(f, "{place} {}", self.problem)
    }
}

impl std::error::Error for SchemaError {}
