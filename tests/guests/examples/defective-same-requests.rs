//! `conforming`, with one mistake: each address contains a random number.

jackfield_test_guests::conforming!(SameRequests);
