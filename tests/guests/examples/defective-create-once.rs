//! `conforming`, with one defect: the write is sent again after 503.

jackfield_test_guests::conforming!(CreateOnce);
