//! The connector `conforming` with one mistake: its errors do not contain the tracker's
//! explanation.

jackfield_test_guests::conforming!(TrackerWords);
