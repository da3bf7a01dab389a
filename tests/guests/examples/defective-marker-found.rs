//! The connector `conforming` with one mistake: `find` reads the newest issues and never sends the
//! marker.

jackfield_test_guests::conforming!(MarkerFound);
