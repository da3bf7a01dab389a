//! Connectors are compiled in a child process with limits on time and memory. If the compilation of
//! a file exceeds a limit, the file becomes `broken`, the host continues to serve, and no child
//! process remains.

use jackfield_tests::wasm::{leb128, push_section};
use jackfield_tests::{Guest, Setup};

use crate::good_neighbour::{GoodConnector, assert_attack_is_harmless, with_good_connector};

#[test]
fn a_file_that_takes_too_long_to_compile_is_broken() {
    assert_broken_by("compile_ms = 300", "compile_ms");
}

/// The compilation of a usual connector needs less memory than the limit. The compilation of the
/// bomb, a very large module, needs more.
#[test]
fn a_file_that_takes_too_much_memory_to_compile_is_broken() {
    let limit = "compile_memory_bytes = 200_000_000";
    assert_broken_by(limit, "compile_memory_bytes");
    let config = format!("[connectors.usual.limits]\n{limit}");
    for number in 2..6 {
        let usual = Guest::named("instant").with_build(number);
        let _ready = Setup::new().config(&config).plugin("usual", &usual).start();
    }
}

/// The server's memory is compared only for the second connector, because the memory that a first
/// compilation maps stays mapped.
fn assert_broken_by(limit: &str, name: &str) {
    let limits = format!("[connectors.first.limits]\n{limit}\n[connectors.bomb.limits]\n{limit}");
    let host = with_good_connector(Setup::new().config(&limits)).start();
    let good = GoodConnector::add_to(&host);
    let bomb = Guest::named("instant").with_module(&giant_functions(), 0);
    let install = |connector: &str, bomb: &Guest| {
        host.install(connector, bomb);
        let connector = host.await_connector(connector, "broken", None);
        assert!(connector["error"].as_str().is_some_and(|why| why.contains(name)), "{connector}");
    };
    install("first", &bomb.clone().with_custom_section(1));
    assert_attack_is_harmless(&host, &good, name, || install("bomb", &bomb));
    assert_eq!(host.children(), 0);
}

/// Returns a core module with four functions. Each function has a hundred locals and a million
/// additions. The body of each function has 7 MB; Wasmtime accepts at most 7.65 MB. The
/// compilation of the module takes seconds, and 380 to 400 MB of memory.
pub(crate) fn giant_functions() -> Vec<u8> {
    let mut body = vec![1, 100, 0x7f];
    for n in 0..1_000_000_u32 {
        let local = |n: u32| (n % 100) as u8;
        let sum = [0x20, local(n * 7), 0x20, local(n * 13 + 1), 0x6a, 0x21, local(n * 31 + 2)];
        body.extend(sum);
    }
    body.push(0x0b);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    push_section(&mut module, 1, &[1, 0x60, 0, 0]);
    push_section(&mut module, 3, &[4, 0, 0, 0, 0]);
    let length = u32::try_from(body.len()).expect("a body below 4 GiB");
    let function = [leb128(length), body].concat();
    let code = [vec![4], function.repeat(4)].concat();
    push_section(&mut module, 10, &code);
    module
}
