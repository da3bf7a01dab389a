//! The connector `conforming` with the mistake `Limits`.

jackfield_test_guests::conforming!(Limits);
