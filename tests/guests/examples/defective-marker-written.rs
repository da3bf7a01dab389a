//! `conforming`, with one defect: the write does not have the marker.

jackfield_test_guests::conforming!(MarkerWritten);
