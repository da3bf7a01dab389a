//! `conforming`, with one mistake: `count` counts closed critical issues as critical.

jackfield_test_guests::conforming!(Counts);
