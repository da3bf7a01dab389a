//! `conforming`, with one defect: `find` returns an empty list if the credentials are refused.

jackfield_test_guests::conforming!(EmptyFind);
