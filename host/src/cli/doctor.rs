//! `jackfield doctor`: what would hinder the server here, and how to mend it. Changes nothing.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::config::Config;

use super::client::{Server, answers};
use super::output::{Output, say, say_json, table};
use super::serve::read_config;

/// The oldest engine without a published advisory that touches what this host uses.
const WASMTIME_FLOOR: &str = "48.0.8";
/// From this kernel on, resetting a guest's memory asks which pages were written (PAGEMAP_SCAN).
const KERNEL_WANTED: (u32, u32) = (6, 7);

#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration [default: jackfield.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where connectors are dropped [default: as the configuration says]
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What was looked at, how it stands, what was seen, and what mends it (empty where all is well).
struct Finding {
    what: &'static str,
    verdict: Verdict,
    seen: String,
    mend: String,
}

fn ok(what: &'static str, seen: impl Into<String>) -> Finding {
    Finding { what, verdict: Verdict::Ok, seen: seen.into(), mend: String::new() }
}

fn warn(what: &'static str, seen: impl Into<String>, mend: &str) -> Finding {
    Finding { what, verdict: Verdict::Warn, seen: seen.into(), mend: mend.to_owned() }
}

fn fail(what: &'static str, seen: impl Into<String>, mend: &str) -> Finding {
    Finding { what, verdict: Verdict::Fail, seen: seen.into(), mend: mend.to_owned() }
}

impl Arguments {
    pub(super) fn run(self, server: &Server, output: Output) -> anyhow::Result<ExitCode> {
        let (config, read) = match read_config(self.config.as_deref()) {
            Ok(config) => (config, ok("configuration", "understood")),
            Err(error) => {
                let finding = fail("configuration", format!("{error:#}"), "mend the named key");
                (Config::default(), finding)
            }
        };
        let config = Config {
            data: server.data.clone().unwrap_or(config.data),
            plugins: self.plugins.unwrap_or(config.plugins),
            ..config
        };
        let findings = [
            read,
            data_folder(&config.data),
            key(&config.data),
            plugins(&config.plugins),
            port(server, &config),
            kernel(),
            engine(),
        ];
        show(&findings, output);
        let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn show(findings: &[Finding], output: Output) {
    if output.json {
        let member = |finding: &Finding| {
            json!({"what": finding.what, "verdict": finding.verdict.as_str(),
                "seen": finding.seen, "mend": finding.mend})
        };
        return say_json(&json!({ "findings": findings.iter().map(member).collect::<Vec<_>>() }));
    }
    let row = |finding: &Finding| {
        vec![
            finding.verdict.as_str().to_owned(),
            finding.what.to_owned(),
            finding.seen.clone(),
            finding.mend.clone(),
        ]
    };
    let headings = ["", "WHAT", "SEEN", "TO MEND"].map(str::to_owned).to_vec();
    say(&table(headings, findings.iter().map(row).collect()));
}

fn data_folder(data: &Path) -> Finding {
    const WHAT: &str = "data folder";
    let shown = data.display().to_string();
    let Ok(about) = std::fs::metadata(data) else {
        return warn(WHAT, format!("{shown} is not there"), "`jackfield serve` makes it");
    };
    if !about.is_dir() {
        return fail(WHAT, format!("{shown} is no folder"), "set `data` or --data to a folder");
    }
    if about.permissions().mode() & 0o007 != 0 {
        return warn(WHAT, format!("others may look into {shown}"), "chmod o-rwx it");
    }
    match tempfile::tempfile_in(data) {
        Ok(_) => ok(WHAT, shown),
        Err(error) => fail(WHAT, format!("{shown}: {error}"), "make it writable for this user"),
    }
}

fn key(data: &Path) -> Finding {
    const WHAT: &str = "key of the secrets";
    let file = data.join("secret-key");
    if std::env::var_os("JACKFIELD_SECRET_KEY").is_some() {
        return ok(WHAT, "JACKFIELD_SECRET_KEY");
    }
    match std::fs::metadata(&file) {
        Ok(about) if about.permissions().mode() & 0o077 != 0 => {
            fail(WHAT, format!("others may read {}", file.display()), "chmod 600 it, rotate it")
        }
        Ok(_) => ok(WHAT, file.display().to_string()),
        Err(_) if data.join("jackfield.db").exists() => fail(
            WHAT,
            format!("{} is missing beside its database", file.display()),
            "bring it back from a backup, or set JACKFIELD_SECRET_KEY",
        ),
        Err(_) => warn(WHAT, "not there yet", "`jackfield serve` makes it"),
    }
}

fn plugins(folder: &Path) -> Finding {
    const WHAT: &str = "plugins folder";
    let shown = folder.display();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            return fail(
                WHAT,
                format!("{shown}: {error}"),
                "make it, or set `plugins` or --plugins to another",
            );
        }
    };
    let is_component = |entry: &std::fs::DirEntry| {
        entry.path().extension().is_some_and(|extension| extension == "wasm")
    };
    match entries.filter_map(Result::ok).filter(is_component).count() {
        0 => warn(WHAT, format!("{shown} holds no .wasm file"), "drop a connector there"),
        count => ok(WHAT, format!("{shown}: {count} connector files")),
    }
}

fn port(server: &Server, config: &Config) -> Finding {
    const WHAT: &str = "server";
    if answers(&server.base) {
        return ok(WHAT, format!("answers at {}", server.base));
    }
    match TcpListener::bind(config.listen) {
        Ok(_) => ok(WHAT, format!("none answers; {} is free for one", config.listen)),
        Err(error) => fail(
            WHAT,
            format!("none answers, and {} cannot be listened on: {error}", config.listen),
            "set `listen` or --listen to another port",
        ),
    }
}

fn kernel() -> Finding {
    const WHAT: &str = "kernel";
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_WANTED {
        ok(WHAT, release)
    } else {
        warn(WHAT, release, "it works; from 6.7 on runs start faster")
    }
}

fn engine() -> Finding {
    const WHAT: &str = "wasmtime";
    let Some(built) = built_with("wasmtime") else {
        return warn(WHAT, "its version is not known", "build Jackfield with its Cargo.lock");
    };
    let read = |text: &str| semver::Version::parse(text).ok();
    if read(&built) >= read(WASMTIME_FLOOR) {
        ok(WHAT, built)
    } else {
        let mend = format!("build Jackfield with {WASMTIME_FLOOR} or newer: older has advisories");
        fail(WHAT, built, &mend)
    }
}

/// The version of a package that this program was built with.
fn built_with(package: &str) -> Option<String> {
    let lock: toml::Table = include_str!("../../../Cargo.lock").parse().ok()?;
    let packages = lock.get("package")?.as_array()?;
    let found =
        packages.iter().find(|one| one.get("name").and_then(|n| n.as_str()) == Some(package))?;
    found.get("version")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_that_is_built_in_is_known_and_new_enough() {
        assert!(engine().verdict == Verdict::Ok, "{}", engine().seen);
    }
}
