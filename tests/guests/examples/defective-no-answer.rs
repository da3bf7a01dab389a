//! The connector `conforming` with one mistake: it returns the error `internal` if the TCP
//! connection is lost.

jackfield_test_guests::conforming!(NoAnswer);
