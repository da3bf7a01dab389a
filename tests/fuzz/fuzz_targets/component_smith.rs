//! `check` on what wasm-smith makes: whole components, and a real connector that instantiates a module of
//! wasm-smith's before it describes itself.
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
        // None exports the world of a connector, so none is taken.
        let component = Component::new(settings(), input)?.to_bytes();
        assert!(check(&component).is_err());
        return Ok(());
    }
    let module = Module::new(Config { max_imports: 0, ..settings() }, input)?.to_bytes();
    match check(&with_module(&module)) {
        Ok(report) => assert_eq!(report.manifest.name, "tiny"),
        Err(words) => {
            assert!(!words.starts_with("it is no valid component"), "{words}");
        }
    }
    Ok(())
}

/// No more of WebAssembly than the host's engine knows.
fn settings() -> Config {
    Config {
        allow_start_export: true,
        compact_imports_enabled: false,
        gc_enabled: false,
        exceptions_enabled: false,
        memory64_enabled: false,
        // References to what the host holds would need a collector.
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

/// The connector with one module more, instantiated once: sections behind all others.
fn with_module(module: &[u8]) -> Vec<u8> {
    /// Modules that the connector has itself.
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
