//! Allocates memory without end, and writes to each page of it.

use jackfield_test_guests::*;

struct AllocatesEndlessly;

impl Behaviour for AllocatesEndlessly {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        let mut allocated = Vec::new();
        loop {
            allocated.push(std::hint::black_box(vec![1u8; 1 << 20]));
        }
    }
}

guest!(AllocatesEndlessly);
