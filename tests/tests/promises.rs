//! The promises, each proved in a file of its own, on the built binary.

#[path = "promises/harness.rs"]
mod harness;
