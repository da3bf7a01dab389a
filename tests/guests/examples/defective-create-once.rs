//! The connector `conforming` with one mistake: `create` sends the write again if the tracker
//! answers 503.

jackfield_test_guests::conforming!(CreateOnce);
