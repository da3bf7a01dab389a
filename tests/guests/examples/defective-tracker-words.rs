//! `conforming`, with one mistake: the error does not contain the tracker's explanation.

jackfield_test_guests::conforming!(TrackerWords);
