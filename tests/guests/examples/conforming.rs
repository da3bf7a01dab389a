//! A connector that keeps to the manual: `jackfield test` finds nothing.

jackfield_test_guests::conforming!(Nothing);
