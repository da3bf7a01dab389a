//! This library is empty: only the examples of the crate are built. Each example is one connector.
