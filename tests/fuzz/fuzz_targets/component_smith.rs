//! Runs `check` on output of wasm-smith: on complete components, and on a real connector that
//! instantiates a generated module before it describes itself.
#![no_main]

use arbitrary::{Result, Unstructured};
use jackfield_fuzz::{CONNECTOR, check};
use libfuzzer_sys::fuzz_target;
use wasm_smith::{Component, Config, Module};

fuzz_target!(|input: &[u8]| {
    let _ = fuzz(&mut Unstructured::new(input));
});

fn fuzz(input: &mut Unstructured<'_>) -> Result<()> {
    if input.ratio(1, 3)? {
        // No generated component exports the world of a connector, so each is refused.
        let component = Component::new(settings(), input)?.to_bytes();
        assert!(check(&component).is_err());
        return Ok(());
    }
    let module = Module::new(Config { max_imports: 0, ..settings() }, input)?.to_bytes();
    match check(&with_module(&module)) {
        Ok(report) => assert_eq!(report.manifest.name, "tiny"),
        Err(error) => assert!(!error.contains("not a valid component"), "{error}"),
    }
    Ok(())
}

/// Only the WebAssembly features that the host's engine has.
fn settings() -> Config {
    Config {
        allow_start_export: true,
        compact_imports_enabled: false,
        gc_enabled: false,
        exceptions_enabled: false,
        memory64_enabled: false,
        // References to host values would need a garbage collector.
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        custom_page_sizes_enabled: false,
        custom_descriptors_enabled: false,
        ..Config::default()
    }
}

/// The connector with one more module, instantiated once: the sections are added at the end.
fn with_module(module: &[u8]) -> Vec<u8> {
    /// Modules of the connector itself.
    const OWN_MODULES: u8 = 3;
    let mut component = CONNECTOR.to_vec();
    section(&mut component, 1, module);
    section(&mut component, 2, &[1, 0, OWN_MODULES, 0]);
    component
}

fn section(component: &mut Vec<u8>, id: u8, payload: &[u8]) {
    component.push(id);
    let mut size = payload.len();
    while size >= 0x80 {
        component.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    component.push(size as u8);
    component.extend(payload);
}
