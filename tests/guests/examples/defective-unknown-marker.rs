//! `conforming`, with one defect: `find` returns an error if there is no issue.

jackfield_test_guests::conforming!(UnknownMarker);
