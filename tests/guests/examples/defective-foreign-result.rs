//! `conforming`, with one defect: `find` returns what the tracker answers, whatever it is.

jackfield_test_guests::conforming!(ForeignResult);
