//! The two kinds of connector files: components and scripts.

use std::path::Path;

use crate::domain::Limits;

use super::error::PluginError;

/// Maximum size of a script, bytes. The runner evaluates the script in each run, and a larger
/// script would need much time.
const SCRIPT_BYTES_MAX: u64 = 512 << 10;

/// The kind of a connector's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// A WebAssembly component: `NAME.wasm`.
    Component,
    /// The text of an ES module: `NAME.js`.
    Script,
}

impl FileKind {
    pub(super) const ALL: [Self; 2] = [Self::Component, Self::Script];

    /// Non-empty text is a script; other content is a component.
    pub(super) fn of_content(content: &[u8]) -> Self {
        let is_text = !content.contains(&0) && std::str::from_utf8(content).is_ok();
        if is_text && !content.is_empty() { Self::Script } else { Self::Component }
    }

    pub(super) fn of_path(file: &Path) -> Option<Self> {
        let extension = file.extension()?;
        Self::ALL.into_iter().find(|kind| extension == kind.extension())
    }

    /// The extension of a connector's file, and of its copy in the folder of compiled code.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Component => "wasm",
            Self::Script => "js",
        }
    }

    /// The extension of the compiled file: machine code, or the program that the runner made from
    /// the script.
    pub(super) fn code_extension(self) -> &'static str {
        match self {
            Self::Component => "cwasm",
            Self::Script => "program",
        }
    }

    pub(super) fn check_size(self, bytes: u64, limits: &Limits) -> Result<(), PluginError> {
        let bytes_max = self.bytes_max(limits);
        match self {
            _ if bytes <= bytes_max => Ok(()),
            Self::Script if bytes_max == SCRIPT_BYTES_MAX => {
                Err(PluginError::ScriptTooLarge { bytes, bytes_max })
            }
            _ => Err(PluginError::TooLarge { bytes, bytes_max }),
        }
    }

    pub(super) fn bytes_max(self, limits: &Limits) -> u64 {
        match self {
            Self::Component => limits.component_bytes,
            Self::Script => limits.component_bytes.min(SCRIPT_BYTES_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_file_is_found_from_its_content() {
        assert_eq!(FileKind::of_content("const ä = 1;".as_bytes()), FileKind::Script);
        for other in [&b"\0asm\x0d\0\x01\0"[..], b"", b"\xff\xfe", b"PK\x03\x04\0"] {
            assert_eq!(FileKind::of_content(other), FileKind::Component);
        }
    }

    #[test]
    fn the_limits_of_scripts_and_of_components_both_apply_to_a_script() {
        let error = |kind: FileKind, bytes, component_bytes| {
            let limits = Limits { component_bytes, ..Limits::default() };
            kind.check_size(bytes, &limits).err().map(|error| error.to_string())
        };
        assert_eq!(error(FileKind::Script, SCRIPT_BYTES_MAX, 1 << 30), None);
        assert_eq!(error(FileKind::Component, SCRIPT_BYTES_MAX + 1, 1 << 30), None);
        let large = error(FileKind::Script, SCRIPT_BYTES_MAX + 1, 1 << 30).unwrap();
        assert!(large.contains("524289") && large.contains("524288"), "{large}");
        let lower = error(FileKind::Script, 11, 10).unwrap();
        assert!(lower.contains("limits.component_bytes"), "{lower}");
    }
}
