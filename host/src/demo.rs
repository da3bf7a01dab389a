//! The sample tracker that `jackfield demo` runs next to the server. It is not part of the server.

pub mod tracker;
