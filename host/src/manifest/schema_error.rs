//! The error of a settings schema: a position in the schema, and the problem at this position.

use std::fmt;

/// The reason why a settings schema is refused. The text is one sentence, whose subject is the
/// position.
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
    pub(super) fn at(keyword: &str, problem: impl Into<String>) -> Self {
        Self::new(problem).within(keyword)
    }

    /// Adds `name` at the front of the pointer, if the object that is being read is the member
    /// `name` of another object.
    pub(super) fn within(self, name: &str) -> Self {
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
