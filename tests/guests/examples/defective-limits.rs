//! `conforming`, with one mistake: `count` uses almost all of the log's limit.

jackfield_test_guests::conforming!(Limits);
