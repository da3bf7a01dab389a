//! Runs `jackfield check` on code that wasm-smith generates: on complete components, and on a real
//! connector with a generated module. The connector instantiates this module before its manifest is
//! read.
#![no_main]

use arbitrary::{Result, Unstructured};
use jackfield_fuzz::{CONNECTOR, check};
use libfuzzer_sys::fuzz_target;
use wasm_smith::{Component, Config, Module};

fuzz_target!(|input: &[u8]| {
    let _ = check_generated(&mut Unstructured::new(input));
});

fn check_generated(input: &mut Unstructured<'_>) -> Result<()> {
    if input.ratio(1, 3)? {
        // A generated component never exports the world of a connector, so it must be refused.
        let component = Component::new(generator_config(), input)?.to_bytes();
        assert!(check(&component).is_err());
        return Ok(());
    }
    let module = Module::new(Config { max_imports: 0, ..generator_config() }, input)?.to_bytes();
    match check(&connector_with_module(&module)) {
        Ok(report) => assert_eq!(report.manifest.name, "tiny"),
        Err(error) => assert!(!error.contains("not a valid component"), "{error}"),
    }
    Ok(())
}

/// Switches off all WebAssembly features that the host's engine does not have.
fn generator_config() -> Config {
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

/// Returns the connector with one more module, which it instantiates once.
fn connector_with_module(module: &[u8]) -> Vec<u8> {
    /// Number of modules that the connector itself contains.
    const OWN_MODULES: u8 = 3;
    let mut component = CONNECTOR.to_vec();
    add_section(&mut component, 1, module);
    add_section(&mut component, 2, &[1, 0, OWN_MODULES, 0]);
    component
}

fn add_section(component: &mut Vec<u8>, id: u8, payload: &[u8]) {
    component.push(id);
    let mut size = payload.len();
    while size >= 0x80 {
        component.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    component.push(size as u8);
    component.extend(payload);
}
