//! `conforming`, with one defect: a date in Retry-After is ignored.

jackfield_test_guests::conforming!(RateLimit);
