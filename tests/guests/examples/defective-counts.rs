//! The connector `conforming` with the mistake `Counts`.

jackfield_test_guests::conforming!(Counts);
