//! The report of a failed test: the data about the test, and the texts and files for the tracker.
//!
//! This module never does I/O. Everything that comes from tests is untrusted: it is never read as a
//! template or as markup. Secrets in logs, arguments, assertions, steps and custom fields are
//! masked before a template reads them.

mod attachments;
mod data;
mod data_limits;
mod defaults;
mod engine;
mod filters;
mod fixed_data;
mod markup;
mod mask;
mod names;
mod rendered;
mod routing;
mod sample;
mod settings;
mod source;

pub use attachments::{AttachmentPolicy, safe_file_names};
pub use data::{
    Assertion, Attachment, AttachmentKind, CustomField, Execution, Gap, PastResult, Project,
    Requirement, RobotLog, Step, Subject, TestCase, TestCaseLog, TestData, TestSet,
};
pub(crate) use data_limits::LOG_LINES_MAX;
pub use fixed_data::FixedData;
pub use markup::{Markup, TextLimitTooSmall, markdown_as_html};
pub use mask::{InvalidMask, Mask, MaskSettings};
pub use rendered::{Field, FieldValue, Report};
pub use routing::RoutingRule;
pub use sample::sample_test_data;
pub use settings::{FieldTemplate, ReportSettings, SettingsProblem};
pub use source::{DownloadError, TestDataSource};
