//! Checks whether the tools of a language are installed and new enough. If not, the error contains
//! an instruction that installs them.

use std::process::Command;

use super::steps::collect_output;
use crate::AuthorError;

/// A program that a build needs.
pub(super) struct Tool {
    program: &'static str,
    version_arguments: &'static [&'static str],
    /// The first two numbers of the oldest version with which a build works.
    oldest_version: (u32, u32),
    pub(super) fix: &'static str,
}

const VERSION_ARGUMENTS: &[&str] = &["--version"];

/// rustc is checked instead of cargo, because the version of rustc decides whether a project
/// compiles. rustc and cargo are installed together.
pub(super) const RUST: Tool = Tool {
    program: "rustc",
    version_arguments: VERSION_ARGUMENTS,
    oldest_version: (1, 95),
    fix: "install Rust with rustup (https://rustup.rs), or update it with `rustup update stable`",
};
pub(super) const NODE: Tool = Tool {
    program: "node",
    version_arguments: VERSION_ARGUMENTS,
    oldest_version: (18, 0),
    fix: "install Node.js 18 or later with npm (Debian: `apt install nodejs npm`)",
};
pub(super) const NPM: Tool = Tool {
    program: "npm",
    version_arguments: VERSION_ARGUMENTS,
    oldest_version: (7, 0),
    fix: "install npm 7 or later (Debian: `apt install npm`), or update it with `npm install -g npm`",
};
pub(super) const PYTHON: Tool = Tool {
    program: "python3",
    version_arguments: VERSION_ARGUMENTS,
    oldest_version: (3, 10),
    fix: "install Python 3.10 or later with venv and pip (Debian: `apt install python3 python3-venv`)",
};

pub(super) const GO: Tool = Tool {
    program: "go",
    version_arguments: &["version"],
    oldest_version: (1, 27),
    fix: "install Go 1.27 or later, or Python 3.10 or later with venv and pip, with \
          which `jackfield build` installs Go \
          (Debian: `apt install python3 python3-venv`)",
};

impl Tool {
    /// Returns what the program prints as its version. If the program cannot be run, the text is
    /// empty.
    pub(super) fn printed_version(&self) -> String {
        let output =
            collect_output(Command::new(self.program).args(self.version_arguments), self.fix);
        output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default()
    }

    /// Checks that the program is installed and new enough.
    pub(super) fn check(&self) -> Result<(), AuthorError> {
        let output =
            collect_output(Command::new(self.program).args(self.version_arguments), self.fix)?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let found = parse_version(&printed);
        if output.status.success() && found.is_some_and(|found| found >= self.oldest_version) {
            return Ok(());
        }
        let Some((major, minor)) = found.filter(|_| output.status.success()) else {
            let (program, fix) = (self.program, self.fix);
            return Err(AuthorError::NoVersion { program, fix });
        };
        let found = format!("{major}.{minor}");
        let (major, minor) = self.oldest_version;
        Err(AuthorError::OldTool {
            program: self.program,
            found,
            oldest: format!("{major}.{minor}"),
            fix: self.fix,
        })
    }
}

/// Parses the first two numbers of a version, in a text such as `rustc 1.95.0 (…)` or `v20.20.2`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    text.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches("go").trim_start_matches('v');
        let mut numbers = word.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_format_of_each_tool_is_understood() {
        for (printed, expected) in [
            ("rustc 1.95.0 (59807616e 2026-04-14)", Some((1, 95))),
            ("v20.20.2\n", Some((20, 20))),
            ("11.19.1", Some((11, 19))),
            ("Python 3.11.7", Some((3, 11))),
            ("go version go1.27.3 linux/amd64", Some((1, 27))),
            ("error: no toolchain", None),
        ] {
            assert_eq!(parse_version(printed), expected, "{printed}");
        }
    }
}
