//! The connector `conforming` with one mistake: it returns the error `rejected` if the tracker
//! answers 403.

jackfield_test_guests::conforming!(RefusedCredentials);
