//! The connector `conforming` with one mistake: `count` returns zero for a count that the tracker's
//! answer does not contain.

jackfield_test_guests::conforming!(UnexpectedAnswer);
