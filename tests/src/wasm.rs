//! Reads and writes parts of the WebAssembly binary format, for files that no compiler generates.

/// Appends a section with this id to a module or a component.
pub fn push_section(file: &mut Vec<u8>, id: u8, payload: &[u8]) {
    file.push(id);
    file.extend(leb128(u32::try_from(payload.len()).expect("a section below 4 GiB")));
    file.extend(payload);
}

/// Encodes an unsigned integer in LEB128.
#[must_use]
pub fn leb128(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push((value & 0x7f) as u8);
    bytes
}

/// Returns the number of core modules that a component defines at its top level. Each of its
/// sections with the id 1 is a core module.
pub(crate) fn count_core_modules(component: &[u8]) -> u32 {
    let (mut at, mut count) = (8, 0);
    while at < component.len() {
        count += u32::from(component[at] == 1);
        let (mut size, mut shift) = (0usize, 0);
        loop {
            at += 1;
            size |= usize::from(component[at] & 0x7f) << shift;
            shift += 7;
            if component[at] < 0x80 {
                break;
            }
        }
        at += 1 + size;
    }
    count
}
