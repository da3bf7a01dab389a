//! The connector `conforming` with one mistake: it returns the error `internal` if the tracker
//! answers 422.

jackfield_test_guests::conforming!(RefusedData);
