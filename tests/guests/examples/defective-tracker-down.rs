//! `conforming`, with one mistake: it returns the error `rejected` for the status 503.

jackfield_test_guests::conforming!(TrackerDown);
