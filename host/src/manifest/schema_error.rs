//! The error of a settings schema: the place in the schema, and the problem there.

use std::fmt;

/// The reason why a settings schema is refused. Reads as one sentence, whose subject is the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// A JSON Pointer such as `/properties/url/type`. Empty for the schema itself.
    place: String,
    /// The rest of the sentence, for example `must be a string`.
    problem: String,
}

impl SchemaError {
    /// Makes an error about the object that is being read.
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { place: String::new(), problem: problem.into() }
    }

    /// Makes an error about one keyword of the object that is being read.
    pub(super) fn at(keyword: &str, problem: impl Into<String>) -> Self {
        Self::new(problem).within(keyword)
    }

    /// Adds `name` to the front of the place: the object that is being read is in another one.
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
