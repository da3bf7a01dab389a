//! An Extism plugin. Its function `create` answers Create Defect, and `count` answers Defect KPIs.
#![no_std]

extern crate alloc;

#[path = "../../work.rs"]
mod work;

use alloc::vec::Vec;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[link(wasm_import_module = "extism:host/env")]
unsafe extern "C" {
    safe fn input_length() -> u64;
    safe fn input_load_u8(at: u64) -> u8;
    safe fn input_load_u64(at: u64) -> u64;
    safe fn alloc(length: u64) -> u64;
    safe fn store_u8(at: u64, byte: u8);
    safe fn store_u64(at: u64, bytes: u64);
    safe fn output_set(at: u64, length: u64);
}

#[unsafe(no_mangle)]
extern "C" fn create() -> i32 {
    write_output(work::create(&read_input()))
}

#[unsafe(no_mangle)]
extern "C" fn count() -> i32 {
    write_output(core::str::from_utf8(&read_input()).ok().and_then(work::count))
}

fn read_input() -> Vec<u8> {
    let length = input_length();
    let mut input = Vec::new();
    let words = length / 8;
    for word in 0..words {
        input.extend(input_load_u64(word * 8).to_le_bytes());
    }
    input.extend((words * 8..length).map(|at| input_load_u8(at)));
    input
}

fn write_output(json: Option<Vec<u8>>) -> i32 {
    let Some(json) = json else { return 1 };
    let at = alloc(json.len() as u64);
    let words = json.chunks_exact(8);
    let last_bytes = words.remainder();
    let mut next = at;
    for word in words {
        store_u64(next, u64::from_le_bytes(word.try_into().unwrap_or_default()));
        next += 8;
    }
    for byte in last_bytes {
        store_u8(next, *byte);
        next += 1;
    }
    output_set(at, json.len() as u64);
    0
}

/// Compares two memory regions. The compiler generates calls of this function, and there is no
/// C library that defines it.
///
/// # Safety
/// Both regions must have at least `count` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
    for at in 0..count {
        // SAFETY: `at` is below `count`.
        let (one, other) = unsafe { (one.add(at).read(), other.add(at).read()) };
        if one != other {
            return i32::from(one) - i32::from(other);
        }
    }
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
