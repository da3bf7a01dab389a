//! `conforming`, with one mistake: it returns the error `internal` for the status 422.

jackfield_test_guests::conforming!(RefusedData);
