//! The report of a failed test: what is known of it, and what a connector files of it.
//!
//! Pure: never does I/O. The room `testmanager` fetches the data, `runtime` gives the report to guests.

mod data;
mod source;

pub use data::{
    Assertion, Attachment, AttachmentKind, CustomField, Execution, Gap, PastResult, Project,
    Requirement, RobotLog, Step, Subject, TestCase, TestCaseLog, TestData, TestSet,
};
pub use source::Source;
