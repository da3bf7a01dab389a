//! The connector `conforming` with the mistake `TrackerDown`.

jackfield_test_guests::conforming!(TrackerDown);
