//! `conforming`, with one defect: a random number is in each address.

jackfield_test_guests::conforming!(SameRequests);
