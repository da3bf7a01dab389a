//! `conforming`, with one defect: an issue that cannot be read after the write is an error.

jackfield_test_guests::conforming!(OkAfterWrite);
