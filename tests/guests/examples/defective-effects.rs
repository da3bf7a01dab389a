//! The connector `conforming` with one mistake: the effect of the request that creates the issue is
//! `read`.

jackfield_test_guests::conforming!(Effects);
