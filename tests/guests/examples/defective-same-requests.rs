//! The connector `conforming` with the mistake `SameRequests`.

jackfield_test_guests::conforming!(SameRequests);
