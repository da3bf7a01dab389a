//! The connector `conforming` with one mistake: it ignores the header `Retry-After` if it is a
//! date.

jackfield_test_guests::conforming!(RateLimit);
