//! The connector `conforming` with one mistake: a setting has no description.

jackfield_test_guests::conforming!(DescribesItself);
