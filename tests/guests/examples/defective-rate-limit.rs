//! `conforming`, with one mistake: it ignores a date in `Retry-After`.

jackfield_test_guests::conforming!(RateLimit);
