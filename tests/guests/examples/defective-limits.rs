//! The connector `conforming` with one mistake: `count` logs almost as much as the limit of the log
//! allows.

jackfield_test_guests::conforming!(Limits);
