//! `conforming`, with one defect: almost the whole log is used.

jackfield_test_guests::conforming!(Limits);
