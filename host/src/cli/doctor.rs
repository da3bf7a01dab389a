//! `jackfield doctor`: diagnoses the installation and suggests fixes. It repairs nothing.

mod platform;
mod server;
mod store;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use semver::Version;
use serde::{Serialize, Serializer};

use crate::app::{Descriptors, tls_files};
use crate::config::{Config, DataFolder, inspect_folder, inspect_private};
use crate::domain::PluginsSource;
use crate::memory::describe_default;
use crate::runtime::WASMTIME_VERSION;
use crate::secret::{KEY_VARIABLE, Secret};

use super::output::{Column, Output, cells, error_line, print, print_json, table};
use super::serve::read_config;
use super::server::ServerArgs;

/// Older versions of wasmtime have a security advisory for a feature that Jackfield uses.
const WASMTIME_VERSION_MIN: Version = Version::new(48, 0, 8);
/// From this version on, the kernel reports which memory pages were written (PAGEMAP_SCAN). With
/// this report, the server resets the memory of a guest faster.
const KERNEL_VERSION_RECOMMENDED: (u32, u32) = (6, 7);

#[derive(Args)]
#[command(after_help = "\
Examples:
  jackfield doctor
  jackfield doctor --config /etc/jackfield/jackfield.toml --data /var/lib/jackfield")]
pub(super) struct Arguments {
    /// The configuration file [default: jackfield.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of the connectors [default: the configured folder]
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<PathBuf>,
}

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// No problem was found.
    Ok,
    /// The server can work, but a person should read the finding.
    Warn,
    /// The server does not work or is not safe until a person fixes the problem.
    Fail,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The result of one check, with texts for people.
#[derive(Serialize)]
struct Finding {
    check: &'static str,
    status: Status,
    found: String,
    /// Describes what a person should do; empty if nothing, or if `found` contains the advice.
    fix: String,
}

#[derive(Serialize)]
struct Report {
    findings: Vec<Finding>,
}

fn ok_finding(check: &'static str, found: impl Into<String>) -> Finding {
    Finding { check, status: Status::Ok, found: found.into(), fix: String::new() }
}

fn warn_finding(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { check, status: Status::Warn, found: found.into(), fix: fix.into() }
}

fn fail_finding(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { check, status: Status::Fail, found: found.into(), fix: fix.into() }
}

/// A warning is reported if the server's certificate is valid for fewer days than this.
const CERTIFICATE_DAYS_MIN: i64 = 14;

const FINDING_COLUMNS: [Column<Finding>; 4] = [
    ("STATUS", |it| it.status.as_str().to_owned()),
    ("CHECK", |it| it.check.to_owned()),
    ("FOUND", |it| it.found.clone()),
    ("FIX", |it| it.fix.clone()),
];

impl Arguments {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<ExitCode> {
        let (config, configuration_finding) = check_configuration(self.config.as_deref());
        let running = server::running_server_status(server);
        let (data, plugins) = match &running {
            Some(running) => (running.data.clone(), running.plugins.clone()),
            None => (config.data.clone(), config.plugins.clone()),
        };
        let config = Config {
            data: server.data.clone().unwrap_or(data),
            plugins: self.plugins.unwrap_or(plugins),
            ..config
        };
        let mut findings = vec![
            configuration_finding,
            check_data_folder(&config.data),
            check_secret_key(&config.data_folder()),
            check_plugins_folder(&config.plugins),
            server::check_server(server, &config, running.is_some()),
            check_descriptors(&config),
            describe_memory(&config),
            check_kernel(),
            check_wasmtime(),
        ];
        findings.extend(check_certificate(&config));
        findings.extend(store::run_checks(&config));
        findings.extend(running.as_ref().and_then(server::check_restart));
        findings.extend(running.as_ref().and_then(server::check_connector_differences));
        findings.extend(check_shared_folder(&config));
        if config.data.exists() {
            findings.push(platform::check_access(&config.data_folder()));
        }
        findings.extend(platform::run_checks(&config, running.is_some()));
        findings.extend(server::check_pending_actions(server));
        let failed = findings.iter().any(|finding| finding.status == Status::Fail);
        if output.is_json {
            print_json(&Report { findings });
        } else {
            let headings =
                FINDING_COLUMNS.iter().map(|(heading, _)| (*heading).to_owned()).collect();
            print(&table(
                headings,
                findings.iter().map(|it| cells(&FINDING_COLUMNS, it)).collect(),
            ));
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Reads the configuration. If it is not valid, the other checks use the defaults.
fn check_configuration(file: Option<&Path>) -> (Config, Finding) {
    const CHECK: &str = "configuration";
    match read_config(file) {
        Ok((config, unknown_variables)) if unknown_variables.is_empty() => {
            (config, ok_finding(CHECK, "valid"))
        }
        Ok((config, unknown_variables)) => {
            let fix = "rename the variable, or unset it if it does not belong to Jackfield";
            (config, warn_finding(CHECK, unknown_variables.join("; "), fix))
        }
        Err(error) => {
            let finding = fail_finding(
                CHECK,
                error_line(&error),
                "in the configuration, correct the key that the message names",
            );
            (Config::default(), finding)
        }
    }
}

fn check_certificate(config: &Config) -> Option<Finding> {
    const CHECK: &str = "certificate";
    let renew = "renew the certificate; the server reads the new files without a restart";
    Some(match tls_files(config)?.validity() {
        Err(error) => {
            let fix = "set `tls_certificate` and `tls_key` to a certificate and its key";
            fail_finding(CHECK, error.to_string(), fix)
        }
        Ok((until, ..0)) => {
            fail_finding(CHECK, format!("expired: it was valid until {until}"), renew)
        }
        Ok((until, days @ ..CERTIFICATE_DAYS_MIN)) => {
            warn_finding(CHECK, format!("it is valid until {until}: {days} days left"), renew)
        }
        Ok((until, _)) => ok_finding(CHECK, format!("it is valid until {until}")),
    })
}

fn check_data_folder(data: &Path) -> Finding {
    const CHECK: &str = "data folder";
    let path = data.display();
    if !data.exists() {
        return warn_finding(
            CHECK,
            format!("{path} does not exist"),
            "`jackfield serve` creates it",
        );
    }
    if let Err(error) = inspect_folder(data) {
        return fail_finding(
            CHECK,
            error.to_string(),
            "if this is the right folder, run the command that the message contains",
        );
    }
    match tempfile::tempfile_in(data) {
        Ok(_) => ok_finding(CHECK, path.to_string()),
        Err(error) => fail_finding(
            CHECK,
            format!("{path}: {error}"),
            "allow this user to write to the folder",
        ),
    }
}

fn check_secret_key(folder: &DataFolder) -> Finding {
    const CHECK: &str = "key of the secrets";
    match Secret::from_variable(KEY_VARIABLE) {
        Ok(Some(_)) => return ok_finding(CHECK, KEY_VARIABLE),
        Ok(None) => {}
        Err(error) => {
            let fix = format!("set {KEY_VARIABLE} to a valid key, or unset it");
            return fail_finding(CHECK, error.to_string(), fix);
        }
    }
    let file = folder.secret_key();
    let path = file.display();
    match inspect_private(&file) {
        Ok(_) => ok_finding(CHECK, path.to_string()),
        Err(error) if file.exists() => {
            let fix = format!(
                "make {path} a file of the server's user, run `chmod 600 {path}`, then `jackfield \
                 secrets rotate`"
            );
            fail_finding(CHECK, error.to_string(), fix)
        }
        Err(_) if folder.database().exists() => fail_finding(
            CHECK,
            format!("{path} is missing, but the database exists"),
            format!("restore the file from a backup, or set {KEY_VARIABLE}"),
        ),
        Err(_) => {
            warn_finding(CHECK, format!("{path} does not exist"), "`jackfield serve` creates it")
        }
    }
}

fn check_plugins_folder(folder: &Path) -> Finding {
    const CHECK: &str = "plugins folder";
    let path = folder.display();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let fix = "create the folder, or set `plugins` or --plugins to another folder";
            return fail_finding(CHECK, format!("{path}: {error}"), fix);
        }
    };
    let entries: Vec<_> = entries.filter_map(Result::ok).collect();
    let problems: Vec<_> = entries.iter().filter_map(platform::file_problem).collect();
    if !problems.is_empty() {
        return warn_finding(
            CHECK,
            problems.join("; "),
            "fix the problem of the file, or move the file to another folder",
        );
    }
    let is_connector = |entry: &std::fs::DirEntry| {
        entry.path().extension().is_some_and(|extension| extension == "wasm" || extension == "js")
    };
    match entries.into_iter().filter(is_connector).count() {
        0 => warn_finding(
            CHECK,
            format!("{path} has no .wasm or .js file"),
            "copy a connector into it",
        ),
        count => ok_finding(CHECK, format!("{path}, connector files: {count}")),
    }
}

/// Checks that this user can write into the plugins folder, if the store decides which connectors
/// exist.
fn check_shared_folder(config: &Config) -> Option<Finding> {
    let is_shared = config.plugins_source() == PluginsSource::Store && config.plugins.exists();
    let error = is_shared.then(|| tempfile::tempfile_in(&config.plugins).err()).flatten()?;
    let found = format!("{}: {error}", config.plugins.display());
    let fix = "allow the server's user to write to the folder, or set \
               `plugins_source = \"folder\"`";
    Some(warn_finding("shared connectors", found, fix))
}

/// Checks how many file descriptors a server would have if it were started with the limits of this
/// process. A server raises its soft limit itself.
fn check_descriptors(config: &Config) -> Finding {
    const CHECK: &str = "file descriptors";
    let descriptors = Descriptors::raise_limit_and_divide(config);
    let found = format!(
        "{}, {} of them for client connections",
        descriptors.limit, descriptors.client_connections_max
    );
    if !descriptors.is_scarce {
        return ok_finding(CHECK, found);
    }
    let fix = "raise the hard limit (`ulimit -Hn`, LimitNOFILE=) to 4096 or more, or lower \
               `concurrent_runs_host`";
    warn_finding(CHECK, found, fix)
}

fn describe_memory(config: &Config) -> Finding {
    let (bytes, source) = match config.memory_bytes_host {
        Some(bytes) => (bytes, "`memory_bytes_host`".to_owned()),
        None => describe_default(),
    };
    ok_finding("memory for runs", format!("{} MiB, {source}", bytes >> 20))
}

fn check_kernel() -> Finding {
    const CHECK: &str = "kernel";
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_VERSION_RECOMMENDED {
        return ok_finding(CHECK, release);
    }
    let (major, minor) = KERNEL_VERSION_RECOMMENDED;
    let fix = format!("optional: use Linux {major}.{minor} or newer, where runs start faster");
    warn_finding(CHECK, release, fix)
}

fn check_wasmtime() -> Finding {
    const CHECK: &str = "wasmtime";
    match WASMTIME_VERSION.parse::<Version>() {
        Ok(version) if version >= WASMTIME_VERSION_MIN => ok_finding(CHECK, WASMTIME_VERSION),
        _ => fail_finding(
            CHECK,
            WASMTIME_VERSION,
            format!(
                "build Jackfield with wasmtime {WASMTIME_VERSION_MIN} or newer: older versions have \
                 security advisories"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wasmtime_version_is_recent_enough() {
        let finding = check_wasmtime();
        assert!(finding.status == Status::Ok, "{}", finding.found);
    }
}
