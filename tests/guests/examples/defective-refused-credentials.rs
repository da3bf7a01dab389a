//! `conforming`, with one defect: 403 is `rejected`.

jackfield_test_guests::conforming!(RefusedCredentials);
