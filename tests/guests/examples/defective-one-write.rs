//! The connector `conforming` with one mistake: `create` sends a second write.

jackfield_test_guests::conforming!(OneWrite);
