//! The connector `conforming` with the mistake `Effects`.

jackfield_test_guests::conforming!(Effects);
