//! `conforming`, with one mistake: `find` returns each issue that the tracker answers, even without
//! the marker.

jackfield_test_guests::conforming!(ForeignResult);
