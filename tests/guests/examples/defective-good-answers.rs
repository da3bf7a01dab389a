//! The connector `conforming` with one mistake: `check` always returns an error.

jackfield_test_guests::conforming!(GoodAnswers);
