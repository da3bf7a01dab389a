//! (under construction)

pub mod sample_tracker;
