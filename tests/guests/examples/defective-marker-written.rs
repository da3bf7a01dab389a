//! `conforming`, with one mistake: the write does not contain the marker.

jackfield_test_guests::conforming!(MarkerWritten);
