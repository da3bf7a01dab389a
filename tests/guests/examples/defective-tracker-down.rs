//! `conforming`, with one defect: 503 is `rejected`.

jackfield_test_guests::conforming!(TrackerDown);
