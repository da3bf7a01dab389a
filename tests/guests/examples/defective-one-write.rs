//! The connector `conforming` with the mistake `OneWrite`.

jackfield_test_guests::conforming!(OneWrite);
