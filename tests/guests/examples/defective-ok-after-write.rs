//! The connector `conforming` with one mistake: `create` returns an error if it cannot read the
//! issue after the write.

jackfield_test_guests::conforming!(OkAfterWrite);
