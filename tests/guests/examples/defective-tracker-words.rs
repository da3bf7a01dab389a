//! `conforming`, with one defect: the tracker's explanation is not in the error.

jackfield_test_guests::conforming!(TrackerWords);
