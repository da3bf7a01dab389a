//! The files of scripts: their text, and what the runner made of it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::runtime::{CompiledFiles, RUNNER, Script};

use super::error::PluginError;
use super::loader::sha256_of;

/// The SHA-256 of the runner, hex.
pub(super) static RUNNER_SHA256: LazyLock<String> = LazyLock::new(|| sha256_of(RUNNER));

/// The file of a script's code, as JSON.
#[derive(Serialize, Deserialize)]
struct Program {
    /// The runner that made it. Another one cannot use it.
    runner_sha256: String,
    script: Script,
}

/// The text of a script, without a byte order mark.
///
/// # Errors
/// It is not UTF-8.
pub(super) fn text_of(content: &[u8]) -> Result<&str, PluginError> {
    let text = std::str::from_utf8(content);
    let text = text.map_err(|error| PluginError::NotText(error.valid_up_to() + 1))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Writes a script and what the runner made of it into a temporary folder.
pub(super) fn write(folder: &Path, content: &[u8], script: &Script) -> io::Result<CompiledFiles> {
    let files = CompiledFiles { source: folder.join("in.js"), code: folder.join("out.program") };
    let program = Program { runner_sha256: RUNNER_SHA256.clone(), script: script.clone() };
    fs::write(&files.source, content)?;
    fs::write(&files.code, serde_json::to_vec(&program)?)?;
    Ok(files)
}

/// Reads what this host's runner made of a script.
pub(super) fn read(code: &Path) -> Option<Script> {
    let program: Program = serde_json::from_slice(&fs::read(code).ok()?).ok()?;
    (program.runner_sha256 == *RUNNER_SHA256).then_some(program.script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_utf_8_with_or_without_a_byte_order_mark() {
        assert_eq!(text_of(b"\xef\xbb\xbfa\r\n").unwrap(), "a\r\n");
        assert_eq!(text_of("ä".as_bytes()).unwrap(), "ä");
        let wrong = text_of(b"a\xff").unwrap_err().to_string();
        assert!(wrong.contains("byte 2"), "{wrong}");
        assert!(text_of(b"a\0b\xff\xfe").is_err());
    }
}
