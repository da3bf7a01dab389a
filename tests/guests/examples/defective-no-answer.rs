//! The connector `conforming` with the mistake `NoAnswer`.

jackfield_test_guests::conforming!(NoAnswer);
