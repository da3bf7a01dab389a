//! The connector `conforming` with the mistake `UnknownMarker`.

jackfield_test_guests::conforming!(UnknownMarker);
