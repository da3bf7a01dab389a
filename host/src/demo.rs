//! What `jackfield demo` runs beside the server: a small sample tracker. Not part of a server.

pub mod tracker;
