//! The error of a settings schema. It never contains an entered value.

use std::fmt;

/// The reason why a settings schema is refused, as a sentence about a position in the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// A JSON Pointer such as `/properties/url/type`. Empty for the schema itself.
    pointer: String,
    /// The rest of the sentence, for example `must be a string`.
    problem: String,
}

impl SchemaError {
    /// Creates an error about the object that is being read.
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { pointer: String::new(), problem: problem.into() }
    }

    /// Creates an error about one keyword of the object that is being read.
    pub(super) fn at_keyword(keyword: &str, problem: impl Into<String>) -> Self {
        Self::new(problem).within_member(keyword)
    }

    /// Adds the member `name` at the front of the pointer.
    pub(super) fn within_member(self, name: &str) -> Self {
        Self { pointer: format!("/{name}{}", self.pointer), problem: self.problem }
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "the schema" } else { &self.pointer };
        write!(f, "{pointer} {}", self.problem)
    }
}

impl std::error::Error for SchemaError {}
