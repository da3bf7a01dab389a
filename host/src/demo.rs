//! The sample tracker that `jackfield demo` runs beside the server. It is not part of the server.

pub mod tracker;
