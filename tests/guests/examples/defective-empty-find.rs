//! The connector `conforming` with the mistake `EmptyFind`.

jackfield_test_guests::conforming!(EmptyFind);
