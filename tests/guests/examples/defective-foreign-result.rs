//! The connector `conforming` with the mistake `ForeignResult`.

jackfield_test_guests::conforming!(ForeignResult);
