//! A library for Jackfield connectors in Rust: the exports, requests with JSON answers, typed
//! settings, and errors that say what to do. The author writes only the code for their own
//! tracker.
//!
//! Implement [`Connector`] for one type and pass the type to [`connector!`]. With the feature
//! `follow-up`, implement [`FollowUp`], too. The contract, which is also the manual, is
//! `wit/connector.wit`.

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
pub use named::{Named, choices, id_of, ids_of, named, optional_id};
pub use request::{Request, Tracker, items, page, percent_encoded, texts};
pub use serde_json::{Value, json};
pub use settings::{List, Number, settings};
pub use texts::{Fields, attachment, attachments, fields, warn};

/// Exports a type as the connector.
#[macro_export]
macro_rules! connector {
    ($connector:ident) => {
        $crate::bindings::export!($connector with_types_in $crate::bindings);
    };
}
