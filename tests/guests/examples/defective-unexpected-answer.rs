//! `conforming`, with one defect: counts that are missing are zero.

jackfield_test_guests::conforming!(UnexpectedAnswer);
