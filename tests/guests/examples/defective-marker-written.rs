//! The connector `conforming` with one mistake: the request that creates the issue does not contain
//! the marker.

jackfield_test_guests::conforming!(MarkerWritten);
