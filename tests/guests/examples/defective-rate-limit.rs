//! The connector `conforming` with the mistake `RateLimit`.

jackfield_test_guests::conforming!(RateLimit);
