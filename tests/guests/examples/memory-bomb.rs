//! Allocates memory without end and touches each page.

use jackfield_test_guests::*;

struct MemoryBomb;

impl Behaviour for MemoryBomb {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        let mut allocated = Vec::new();
        loop {
            allocated.push(std::hint::black_box(vec![1u8; 1 << 20]));
        }
    }
}

guest!(MemoryBomb);
