//! The connector `conforming` with the mistake `TrackerWords`.

jackfield_test_guests::conforming!(TrackerWords);
