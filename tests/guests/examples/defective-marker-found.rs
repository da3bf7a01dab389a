//! The connector `conforming` with the mistake `MarkerFound`.

jackfield_test_guests::conforming!(MarkerFound);
