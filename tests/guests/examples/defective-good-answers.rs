//! The connector `conforming` with the mistake `GoodAnswers`.

jackfield_test_guests::conforming!(GoodAnswers);
