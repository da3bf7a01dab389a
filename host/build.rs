//! Passes wasmtime's version, from Cargo.lock, and the target of the compilation to the program.
//! Generates no code.

use std::error::Error;

const LOCK_FILE: &str = "../Cargo.lock";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={LOCK_FILE}");
    let lock = std::fs::read_to_string(LOCK_FILE)?;
    let version = find_version("wasmtime", &lock).ok_or("Cargo.lock has no package wasmtime")?;
    println!("cargo:rustc-env=WASMTIME_VERSION={version}");
    println!("cargo:rustc-env=TARGET={}", std::env::var("TARGET")?);
    Ok(())
}

/// The version is in the line after the name.
fn find_version<'a>(package: &str, lock: &'a str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}
