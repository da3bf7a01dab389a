//! The connector `conforming` with the mistake `OkAfterWrite`.

jackfield_test_guests::conforming!(OkAfterWrite);
