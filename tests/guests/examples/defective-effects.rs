//! `conforming`, with one mistake: the write is declared as a `read`.

jackfield_test_guests::conforming!(Effects);
