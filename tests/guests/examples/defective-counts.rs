//! The connector `conforming` with one mistake: `count` counts all closed issues as critical, in
//! addition to the critical ones.

jackfield_test_guests::conforming!(Counts);
