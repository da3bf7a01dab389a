//! Only the examples are built: each is one connector.
