//! `check` on real connectors that the fuzzer has changed: what must hold of every answer stands in
//! `check` itself.
#![no_main]

use jackfield_fuzz::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|component: &[u8]| {
    let _ = check(component);
});
