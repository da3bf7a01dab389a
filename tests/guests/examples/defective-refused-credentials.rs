//! `conforming`, with one mistake: it returns the error `rejected` for the status 403.

jackfield_test_guests::conforming!(RefusedCredentials);
