//! The connector `conforming` with one mistake: `find` returns an error if no issue contains the
//! marker.

jackfield_test_guests::conforming!(UnknownMarker);
