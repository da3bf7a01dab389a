//! Tests of the requests to Test Manager.
