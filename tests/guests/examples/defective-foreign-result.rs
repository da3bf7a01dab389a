//! The connector `conforming` with one mistake: `find` returns all issues of the tracker's answer,
//! even those without the marker.

jackfield_test_guests::conforming!(ForeignResult);
