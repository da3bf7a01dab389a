//! A guest whose `describe` is an endless loop.

use jackfield_test_guests::*;

struct LoopsInDescribe;

impl Behaviour for LoopsInDescribe {
    fn describe() -> Manifest {
        let mut n = 0u64;
        loop {
            n = std::hint::black_box(n.wrapping_add(1));
        }
    }
}

guest!(LoopsInDescribe);
