//! The connector `conforming` with the mistake `MarkerWritten`.

jackfield_test_guests::conforming!(MarkerWritten);
