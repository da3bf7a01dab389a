//! Calls a fast function of the host in an endless loop.

use jackfield_test_guests::*;

struct LoopsOverHostCall;

impl Behaviour for LoopsOverHostCall {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        loop {
            std::hint::black_box(settings::get("no such setting"));
        }
    }
}

guest!(LoopsOverHostCall);
