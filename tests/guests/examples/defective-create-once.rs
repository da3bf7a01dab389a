//! The connector `conforming` with the mistake `CreateOnce`.

jackfield_test_guests::conforming!(CreateOnce);
