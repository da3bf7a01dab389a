//! Each of `create`, `find`, `count` and `check` is an endless loop.

use jackfield_test_guests::*;

struct Spin;

fn spin() -> ! {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

impl Behaviour for Spin {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        spin()
    }
    fn find(_marker: String) -> Result<Vec<Defect>, Error> {
        spin()
    }
    fn count(_project: String) -> Result<Counts, Error> {
        spin()
    }
    fn check() -> Result<String, Error> {
        spin()
    }
}

guest!(Spin);
