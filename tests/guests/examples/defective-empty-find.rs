//! The connector `conforming` with one mistake: `find` returns an empty list if the credentials are
//! wrong.

jackfield_test_guests::conforming!(EmptyFind);
