//! `conforming`, with one defect: the write is marked `read`.

jackfield_test_guests::conforming!(Effects);
