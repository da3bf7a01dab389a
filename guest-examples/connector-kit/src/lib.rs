//! A library for Jackfield connectors in Rust. It implements the exports, sends requests and reads
//! their JSON answers, reads settings into a type, and creates the errors that a call returns.
//!
//! Implement [`Connector`] for one type, and pass this type to [`connector!`]. With the feature
//! `follow-up`, implement [`FollowUp`] for the type, too. `wit/connector.wit` is the contract with
//! the server. Its comments are the manual.

mod connector;
mod error;
mod named;
mod request;
mod settings;
mod texts;

#[allow(missing_docs)]
#[cfg(feature = "follow-up")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "follow-up-connector",
        pub_export_macro: true,
        default_bindings_module: "jackfield_connector_kit::bindings",
    });
}
#[allow(missing_docs)]
#[cfg(not(feature = "follow-up"))]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "connector",
        pub_export_macro: true,
        default_bindings_module: "jackfield_connector_kit::bindings",
    });
}

pub use bindings::exports::jackfield::connector::plugin::{Choice, ChoicesPage};
pub use bindings::jackfield::connector::http::{Body, Content, Effect, Method, Part, Response};
pub use bindings::jackfield::connector::model::{Counts, Defect, Error, ErrorCode, FailedTest};
pub use bindings::jackfield::connector::{report, test_manager};
pub use connector::Connector;
#[cfg(feature = "follow-up")]
pub use connector::FollowUp;
pub use error::header;
pub use named::{NamedRecord, id_of, ids_of, optional_id, read_named_records, to_choices};
pub use request::{Request, Tracker, items, member_texts, page_address, percent_encoded};
pub use serde_json::{Value, json};
pub use settings::{Number, TextList, read_settings};
pub use texts::{GroupedFields, find_attachment, read_fields, upload_attachments, warn};

/// Exports a type as the connector.
#[macro_export]
macro_rules! connector {
    ($connector:ident) => {
        $crate::bindings::export!($connector with_types_in $crate::bindings);
    };
}
