//! A guest whose `describe` panics with a message.

use jackfield_test_guests::*;

struct DescribePanics;

impl Behaviour for DescribePanics {
    fn describe() -> Manifest {
        panic!("the schema is broken: no field `url`")
    }
}

guest!(DescribePanics);
