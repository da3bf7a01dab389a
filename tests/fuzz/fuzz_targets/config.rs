//! Fuzzes the configuration. The input is a TOML file. After a line `---`, the input may contain
//! environment variables.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jackfield::config::{Config, ConfigError, DefectIdKind};
use jackfield::domain::Limits;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use toml::{Table, Value};

static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (file, variables) = text.split_once("\n---\n").unwrap_or((text, ""));
    match load_config(file, variables) {
        Ok(config) => {
            assert_within_bounds(&config);
            let written = to_toml(&config);
            let read_again = load_config(&written, "").expect("the written values are valid");
            assert_eq!(to_toml(&read_again), written);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!error.why.is_empty() && !text.contains(['\n', '\r']), "{text:?}");
        }
    }
});

fn load_config(file: &str, variables: &str) -> Result<Config, ConfigError> {
    let path = FOLDER.path().join("jackfield.toml");
    // Some file systems flush a file that replaces another file, which is slow. They do not flush a
    // new file.
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, file).expect("the file is written");
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    Config::load(Some(&path), variables.map(|(name, text)| (name.to_owned(), text.to_owned())))
}

fn assert_within_bounds(config: &Config) {
    for limits in config.connector_limits.values().chain([&config.limits]) {
        for limit in Limits::TABLE {
            let value = limits.value(limit.name).expect("a limit of the table");
            assert!((1..=limit.maximum).contains(&value), "{} = {value}", limit.name);
        }
    }
    assert!((1..=1_000).contains(&config.concurrent_runs_host));
    assert!(config.rescan_ms >= 50 && config.sweep_ms >= 50 && config.lease_ms >= 1_000);
    assert!(config.secret_file_roots.iter().all(|root| root.is_absolute()));
}

/// Returns a TOML file with the values of a configuration, but not for all keys.
fn to_toml(config: &Config) -> String {
    let text = |path: &Path| Value::from(path.to_str().expect("it came from a text"));
    let paths = |paths: &[PathBuf]| paths.iter().map(|path| text(path)).collect::<Vec<_>>();
    let number = |number: u64| Value::Integer(number.try_into().expect("it came from TOML"));
    let mut file = Table::new();
    let mut set = |key: &str, value: Value| file.insert(key.to_owned(), value);
    set("listen", config.listen.to_string().into());
    set("data", text(&config.data));
    set("plugins", text(&config.plugins));
    set("concurrent_runs_host", config.concurrent_runs_host.into());
    set("rescan_ms", number(config.rescan_ms));
    set("compiled_bytes_max", number(config.compiled_bytes_max));
    set("events_days", config.events_days.into());
    set("events_max", number(config.events_max));
    set("sweep_ms", number(config.sweep_ms));
    set("lease_ms", number(config.lease_ms));
    set("keep_alive_s", config.keep_alive_s.into());
    set("kpi_fresh_ms", number(config.kpi_fresh_ms));
    set("secret_file_roots", paths(&config.secret_file_roots).into());
    set("secret_env_prefixes", config.secret_env_prefixes.clone().into());
    set("webhook", webhook_section(config).into());
    set("limits", limits_section(&config.limits));
    let own = |limits: &Limits| {
        Value::Table(Table::from_iter([("limits".to_owned(), limits_section(limits))]))
    };
    let connectors = config.connector_limits.iter();
    let connectors = connectors.map(|(name, limits)| (name.to_string(), own(limits)));
    set("connectors", Value::Table(connectors.collect()));
    if let Some(url) = &config.public_url {
        set("public_url", url.as_str().into());
    }
    if let Some(address) = &config.admin_listen {
        set("admin_listen", address.to_string().into());
    }
    if let Some(path) = &config.extra_ca_file {
        set("extra_ca_file", text(path));
    }
    file.to_string()
}

fn webhook_section(config: &Config) -> Table {
    let webhook = &config.webhook;
    let id = if webhook.defect_id_kind == DefectIdKind::Key { "key" } else { "uuid" };
    let mut table = Table::new();
    table.insert("create_defect_paths".to_owned(), webhook.create_defect_paths.clone().into());
    table.insert("kpi_paths".to_owned(), webhook.kpi_paths.clone().into());
    table.insert("defect_id".to_owned(), id.into());
    if let Some(words) = &webhook.kpi_status {
        table.insert("kpi_status".to_owned(), words.to_vec().into());
    }
    table
}

fn limits_section(limits: &Limits) -> Value {
    let value = |name| limits.value(name).and_then(|value| i64::try_from(value).ok());
    let all = Limits::TABLE.iter();
    let all = all.map(|limit| (limit.name.to_owned(), value(limit.name).expect("a limit").into()));
    Value::Table(all.collect())
}
