//! `conforming`, with one defect: a setting has no description.

jackfield_test_guests::conforming!(DescribesItself);
