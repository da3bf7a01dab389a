//! `conforming`, with one mistake: `create` sends the write again after the status 503.

jackfield_test_guests::conforming!(CreateOnce);
