//! `conforming`, with one defect: a second write follows.

jackfield_test_guests::conforming!(OneWrite);
