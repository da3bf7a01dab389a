//! `conforming`, with one mistake: if the TCP connection is lost, it returns the error `internal`.

jackfield_test_guests::conforming!(NoAnswer);
