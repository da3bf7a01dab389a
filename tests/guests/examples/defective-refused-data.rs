//! The connector `conforming` with the mistake `RefusedData`.

jackfield_test_guests::conforming!(RefusedData);
