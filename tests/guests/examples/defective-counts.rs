//! `conforming`, with one defect: a closed critical issue counts as critical.

jackfield_test_guests::conforming!(Counts);
