//! `conforming`, with one defect: a lost connection is `internal`.

jackfield_test_guests::conforming!(NoAnswer);
