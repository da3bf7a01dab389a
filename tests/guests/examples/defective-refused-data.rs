//! `conforming`, with one defect: 422 is `internal`.

jackfield_test_guests::conforming!(RefusedData);
