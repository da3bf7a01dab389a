//! The connector `conforming` with the mistake `UnexpectedAnswer`.

jackfield_test_guests::conforming!(UnexpectedAnswer);
