//! The two kinds of a connector's file: a component and a script.

use std::path::Path;

use crate::domain::Limits;

use super::error::PluginError;

/// Maximum size of a script. A larger one would take much time to parse in each run.
const SCRIPT_BYTES_MAX: u64 = 512 << 10;

/// Says what a connector's file contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// A WebAssembly component: `NAME.wasm`.
    Component,
    /// The text of an ES module: `NAME.js`.
    Script,
}

impl FileKind {
    pub(super) const ALL: [Self; 2] = [Self::Component, Self::Script];

    /// The kind by a file's content: text is a script.
    pub(super) fn of_content(content: &[u8]) -> Self {
        let is_text = !content.contains(&0) && std::str::from_utf8(content).is_ok();
        if is_text && !content.is_empty() { Self::Script } else { Self::Component }
    }

    /// The kind by the extension of a file's name.
    pub(super) fn of(file: &Path) -> Option<Self> {
        let extension = file.extension()?;
        Self::ALL.into_iter().find(|kind| extension == kind.extension())
    }

    /// The extension of a connector's file, and of its copy beside the compiled code.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Component => "wasm",
            Self::Script => "js",
        }
    }

    /// The extension of what is loaded: machine code, or what the runner made of the script.
    pub(super) fn code_extension(self) -> &'static str {
        match self {
            Self::Component => "cwasm",
            Self::Script => "program",
        }
    }

    /// Checks the size of a file.
    ///
    /// # Errors
    /// It is too large.
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

    /// The maximum size of a file.
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
    fn the_content_says_what_a_file_is() {
        assert_eq!(FileKind::of_content("const ä = 1;".as_bytes()), FileKind::Script);
        for other in [&b"\0asm\x0d\0\x01\0"[..], b"", b"\xff\xfe", b"PK\x03\x04\0"] {
            assert_eq!(FileKind::of_content(other), FileKind::Component);
        }
    }

    #[test]
    fn a_script_has_a_limit_of_its_own_and_that_of_a_component() {
        let why = |kind: FileKind, bytes, component_bytes| {
            let limits = Limits { component_bytes, ..Limits::default() };
            kind.check_size(bytes, &limits).err().map(|error| error.to_string())
        };
        assert_eq!(why(FileKind::Script, SCRIPT_BYTES_MAX, 1 << 30), None);
        assert_eq!(why(FileKind::Component, SCRIPT_BYTES_MAX + 1, 1 << 30), None);
        let large = why(FileKind::Script, SCRIPT_BYTES_MAX + 1, 1 << 30).unwrap();
        assert!(large.contains("524289") && large.contains("524288"), "{large}");
        let lower = why(FileKind::Script, 11, 10).unwrap();
        assert!(lower.contains("limits.component_bytes"), "{lower}");
    }
}
