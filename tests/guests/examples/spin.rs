//! A guest in which each of `create`, `find`, `count` and `check` is an endless loop.

use jackfield_test_guests::*;

struct LoopsInEachCall;

fn loop_forever() -> ! {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

impl Behaviour for LoopsInEachCall {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        loop_forever()
    }
    fn find(_marker: String) -> Result<Vec<Defect>, Error> {
        loop_forever()
    }
    fn count(_project: String) -> Result<Counts, Error> {
        loop_forever()
    }
    fn check() -> Result<String, Error> {
        loop_forever()
    }
}

guest!(LoopsInEachCall);
