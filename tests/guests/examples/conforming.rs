//! A connector that follows the manual, so that `jackfield test` finds no mistake.

jackfield_test_guests::conforming!(Nothing);
