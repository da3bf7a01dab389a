//! The connector `conforming` with one mistake: the query of each request contains a random number.

jackfield_test_guests::conforming!(SameRequests);
