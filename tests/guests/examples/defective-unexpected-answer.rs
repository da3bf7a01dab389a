//! `conforming`, with one mistake: `count` returns zero for a missing count.

jackfield_test_guests::conforming!(UnexpectedAnswer);
