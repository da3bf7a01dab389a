//! `conforming`, with one defect: `check` is not written yet.

jackfield_test_guests::conforming!(GoodAnswers);
