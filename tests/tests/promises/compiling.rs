//! Compiling happens in a child with a deadline and a bound on its memory: what is made to blow up the
//! compiler is broken, the host serves on, and no child is left.

use jackfield_tests::{Guest, Setup};

use crate::beside::{Good, harms_nobody, with_good};

#[test]
fn a_file_that_takes_the_compiler_too_long_is_broken() {
    blows_up("compile_ms = 300", "compile_ms");
}

/// The bound is far more than a connector of usual size takes to compile, and less than the bomb does.
#[test]
fn a_file_that_takes_the_compiler_too_much_memory_is_broken() {
    let limit = "compile_memory_bytes = 200_000_000";
    blows_up(limit, "compile_memory_bytes");
    let config = format!("[connectors.usual.limits]\n{limit}");
    for number in 2..6 {
        let usual = Guest::named("instant").build(number);
        let _ = Setup::new().config(&config).plugin("usual", &usual).start();
    }
}

fn blows_up(limit: &str, named: &str) {
    let limits = format!("[connectors.bomb.limits]\n{limit}");
    let host = with_good(Setup::new().config(&limits)).start();
    let good = Good::of(&host);
    let bomb = Guest::named("instant").with_module(&giant_function(), 0);
    harms_nobody(&host, &good, named, || {
        host.install("bomb", &bomb);
        let shown = host.await_connector("bomb", "broken", None);
        assert!(shown["error"].as_str().is_some_and(|why| why.contains(named)), "{shown}");
    });
    assert_eq!(host.children(), 0);
}

/// A core module of four functions, each with a hundred locals and a million additions: some 7 MB,
/// near the largest body that a valid module may have. Compiling them takes
/// seconds, and between 380 and 400 MB; a connector of usual size takes neither.
fn giant_function() -> Vec<u8> {
    let mut body = vec![1, 100, 0x7f];
    for n in 0..1_000_000_u32 {
        let local = |n: u32| (n % 100) as u8;
        let sum = [0x20, local(n * 7), 0x20, local(n * 13 + 1), 0x6a, 0x21, local(n * 31 + 2)];
        body.extend(sum);
    }
    body.push(0x0b);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 0, 0]);
    section(&mut module, 3, &[4, 0, 0, 0, 0]);
    let function = [leb128(body.len()), body].concat();
    let code = [vec![4], function.repeat(4)].concat();
    section(&mut module, 10, &code);
    module
}

fn section(module: &mut Vec<u8>, id: u8, payload: &[u8]) {
    module.push(id);
    module.extend(leb128(payload.len()));
    module.extend(payload);
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
