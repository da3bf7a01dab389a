//! The files of scripts: the text of a script, and the program that the runner made from it.
//!
//! This file never runs a script.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::runtime::{CompiledFiles, RUNNER, Script};

use super::error::PluginError;
use super::loader::sha256_of;

pub(super) static RUNNER_SHA256: LazyLock<String> = LazyLock::new(|| sha256_of(RUNNER));

/// The JSON file of a parsed script.
#[derive(Serialize, Deserialize)]
struct ProgramFile {
    /// The SHA-256 of the runner that parsed the script. No other runner can use this file.
    runner_sha256: String,
    script: Script,
}

/// Returns the text of a script, without a byte order mark.
pub(super) fn script_text(content: &[u8]) -> Result<&str, PluginError> {
    let text = std::str::from_utf8(content);
    let text = text.map_err(|error| PluginError::NotText(error.valid_up_to() + 1))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Writes the text of a script and the parsed script into a temporary folder.
pub(super) fn write_program(
    folder: &Path,
    content: &[u8],
    script: &Script,
) -> io::Result<CompiledFiles> {
    let files = CompiledFiles { source: folder.join("in.js"), code: folder.join("out.program") };
    let program_file = ProgramFile { runner_sha256: RUNNER_SHA256.clone(), script: script.clone() };
    fs::write(&files.source, content)?;
    fs::write(&files.code, serde_json::to_vec(&program_file)?)?;
    Ok(files)
}

/// Reads a parsed script, if this version of the runner made it.
pub(super) fn read_program(code: &Path) -> Option<Script> {
    let program_file: ProgramFile = serde_json::from_slice(&fs::read(code).ok()?).ok()?;
    (program_file.runner_sha256 == *RUNNER_SHA256).then_some(program_file.script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_utf_8_with_or_without_a_byte_order_mark() {
        assert_eq!(script_text(b"\xef\xbb\xbfa\r\n").unwrap(), "a\r\n");
        assert_eq!(script_text("ä".as_bytes()).unwrap(), "ä");
        let wrong = script_text(b"a\xff").unwrap_err().to_string();
        assert!(wrong.contains("byte 2"), "{wrong}");
        assert!(script_text(b"a\0b\xff\xfe").is_err());
    }
}
