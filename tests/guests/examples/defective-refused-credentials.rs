//! The connector `conforming` with the mistake `RefusedCredentials`.

jackfield_test_guests::conforming!(RefusedCredentials);
