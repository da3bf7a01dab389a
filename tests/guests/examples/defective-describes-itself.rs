//! The connector `conforming` with the mistake `DescribesItself`.

jackfield_test_guests::conforming!(DescribesItself);
