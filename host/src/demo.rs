//! The sample tracker that `jackfield demo` runs next to the server. The server never uses it.

pub mod tracker;
