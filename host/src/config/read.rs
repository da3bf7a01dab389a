//! Reads the configuration: first the TOML file, then the environment.
//!
//! This module never guesses: an unknown key or a wrong value is an error.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use toml::{Table, Value};

use crate::domain::{ConnectorName, Limits, PluginsSource, is_printable, nearest};

use super::environment::{TableAndKey, key_of_variable};
use super::values::{
    KeyError, read_absolute_paths, read_address, read_boolean, read_compile_for,
    read_defect_id_kind, read_header_name, read_host_names, read_networks, read_number, read_path,
    read_plugins_source, read_public_url, read_secret_reference, read_store, read_texts,
    read_variable_prefixes, read_webhook_paths,
};
use super::{Config, ConfigError, ListenAddress, PROXY_SECRET_HEADER, oidc, traces};

pub(super) const TOP_LEVEL_KEYS: [&str; 38] = [
    "listen",
    "data",
    "plugins",
    "plugins_source",
    "store",
    "store_password",
    "store_connections_max",
    "store_statement_s",
    "store_connect_s",
    "public_url",
    "admin_listen",
    "proxy_protocol",
    "admin_proxy_protocol",
    "tls_certificate",
    "tls_key",
    "allowed_hosts",
    "trusted_proxies",
    "proxy_user_header",
    "proxy_role_header",
    "proxy_secret",
    "keep_alive_s",
    "concurrent_runs_host",
    "memory_bytes_host",
    "spool_bytes_max",
    "rescan_ms",
    "compile_for",
    "compiled_bytes_max",
    "events_days",
    "events_max",
    "events_bytes_max",
    "audit_days",
    "sweep_ms",
    "lease_ms",
    "drain_ms",
    "kpi_fresh_ms",
    "extra_ca_file",
    "secret_file_roots",
    "secret_env_prefixes",
];
const TABLE_NAMES: [&str; 6] = ["webhook", "create", "limits", "connectors", "oidc", "traces"];
pub(super) const WEBHOOK_KEYS: [&str; 6] = [
    "requests_per_s",
    "requests_burst",
    "create_defect_paths",
    "kpi_paths",
    "defect_id",
    "kpi_status",
];
pub(super) const CREATE_KEYS: [&str; 1] = ["in_doubt_s"];
/// The keys at the top level and in `[webhook]` whose values are lists.
const LIST_KEYS: [&str; 7] = [
    "allowed_hosts",
    "trusted_proxies",
    "secret_file_roots",
    "secret_env_prefixes",
    "create_defect_paths",
    "kpi_paths",
    "kpi_status",
];

/// The engine's pool has at most 1,000 slots, and each run needs at least one.
const RUNS_RANGE: RangeInclusive<u64> = 1..=1_000;
/// The minimum is enough for a few of the largest connectors.
const COMPILED_BYTES_RANGE: RangeInclusive<u64> = 256 << 20..=1 << 40;
/// The minimum is enough for a few small runs.
const HOST_MEMORY_BYTES_RANGE: RangeInclusive<u64> = 64 << 20..=1 << 40;
const SPOOL_BYTES_RANGE: RangeInclusive<u64> = 16 << 20..=1 << 40;
const DAYS_RANGE: RangeInclusive<u64> = 1..=3_650;
const EVENTS_RANGE: RangeInclusive<u64> = 1..=1_000_000_000;
/// The minimum is enough for a few of the largest events.
const EVENTS_BYTES_RANGE: RangeInclusive<u64> = 1 << 20..=1 << 40;
const REQUESTS_RANGE: RangeInclusive<u64> = 1..=1_000_000;
/// The range has values above the idle time-out of a load balancer, which may be ten minutes.
const KEEP_ALIVE_S_RANGE: RangeInclusive<u64> = 1..=3_600;
/// The range of `rescan_ms` and `sweep_ms`.
const PERIOD_MS_RANGE: RangeInclusive<u64> = 50..=3_600_000;
/// The minimum is longer than a write to a slow disk takes. The maximum limits how long a crash
/// blocks the repetition of a create.
const LEASE_MS_RANGE: RangeInclusive<u64> = 1_000..=600_000;
/// The maximum is a week. The value "never" removes the limit.
const IN_DOUBT_S_RANGE: RangeInclusive<u64> = 1..=604_800;
const DRAIN_MS_RANGE: RangeInclusive<u64> = 0..=600_000;
/// One connection writes, one receives notifications, and at least one reads, so the minimum is
/// three. By default, PostgreSQL allows 100 connections of all clients together.
const STORE_CONNECTIONS_RANGE: RangeInclusive<u64> = 3..=64;
/// The range of `store_statement_s` and `store_connect_s`.
const STORE_TIME_S_RANGE: RangeInclusive<u64> = 1..=60;
const KPI_FRESH_MS_RANGE: RangeInclusive<u64> = 0..=3_600_000;

pub(super) fn load(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    let location =
        file.map_or_else(|| "the configuration".to_owned(), |path| path.display().to_string());
    let in_file = |why: KeyError| one_line_error(&location, &why);
    let mut table = match file {
        Some(path) => parse_file(path).map_err(in_file)?,
        None => Table::new(),
    };
    let connectors = table.remove("connectors");
    // Read at the end, because the environment may add keys to these tables.
    let mut take_table =
        |name| table.remove(name).map(|value| require_table(name, value)).transpose();
    let mut oidc_table = take_table("oidc").map_err(in_file)?;
    let mut traces_table = take_table("traces").map_err(in_file)?;
    config.read_table(table).map_err(in_file)?;
    for (name, text) in env {
        match key_of_variable(&name).zip(variable_text(&text)) {
            Some((("oidc", key), text)) => {
                let table = oidc_table.get_or_insert_with(Table::new);
                table.insert(key.to_owned(), variable_value(key, text));
            }
            Some((("traces", key), text)) => {
                let table = traces_table.get_or_insert_with(Table::new);
                table.insert(key.to_owned(), variable_value(key, text));
            }
            Some((key, text)) => config.read_variable(&name, key, text)?,
            None => {}
        }
    }
    if config.tls_certificate.is_some() != config.tls_key.is_some() {
        return Err(in_file(
            "set both `tls_certificate` and `tls_key`, or neither of them".to_owned(),
        ));
    }
    if config.plugins_source == Some(PluginsSource::Store) && config.store.is_none() {
        return Err(in_file(
            "`plugins_source` = \"store\" needs a database that servers share: set `store` to a \
             PostgreSQL address, or remove `plugins_source`"
                .to_owned(),
        ));
    }
    if let Some(connectors) = connectors {
        let limits = read_connectors(connectors, config.limits).map_err(in_file)?;
        config.connector_limits = limits;
    }
    config.oidc = oidc_table.map(oidc::read).transpose().map_err(in_file)?;
    config.traces = traces_table.map(traces::read).transpose().map_err(in_file)?;
    config.check_proxy_sign_in().map_err(in_file)?;
    Ok(config)
}

/// Removes line ends, because a file of variables may have CR LF. An empty variable counts as not
/// set.
fn variable_text(text: &str) -> Option<&str> {
    let text = text.trim_end_matches(['\r', '\n']);
    (!text.trim().is_empty()).then_some(text)
}

fn parse_file(path: &Path) -> Result<Table, KeyError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("cannot be read: {error}; set the path of the configuration with --config FILE")
    })?;
    text.parse::<Table>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("line {line} is not TOML: {}", error.message().replace('\n', " "))
    })
}

impl Config {
    /// Reads the keys of the file, except `[connectors]`, `[oidc]` and `[traces]`.
    fn read_table(&mut self, table: Table) -> Result<(), KeyError> {
        for (key, value) in table {
            match key.as_str() {
                "webhook" => self.read_webhook(require_table("webhook", value)?)?,
                "create" => self.read_create(require_table("create", value)?)?,
                "limits" => {
                    read_limits(&mut self.limits, require_table("limits", value)?, "limits")?
                }
                _ => self.set_key(&key, &value)?,
            }
        }
        Ok(())
    }

    fn read_variable(
        &mut self,
        name: &str,
        (table, key): TableAndKey,
        text: &str,
    ) -> Result<(), ConfigError> {
        let value = variable_value(key, text);
        let single_key_table = |value| Table::from_iter([(key.to_owned(), value)]);
        let result = match table {
            "webhook" => self.read_webhook(single_key_table(value)),
            "create" => self.read_create(single_key_table(value)),
            "limits" => read_limits(&mut self.limits, single_key_table(value), table),
            _ => self.set_key(key, &value),
        };
        result.map_err(|why| one_line_error(&format!("${name}"), &why))
    }

    fn set_key(&mut self, key: &str, value: &Value) -> Result<(), KeyError> {
        match key {
            "listen" => self.listen = read_address(key, value)?,
            "data" => self.data = read_path(key, value)?,
            "plugins" => self.plugins = read_path(key, value)?,
            "plugins_source" => self.plugins_source = Some(read_plugins_source(value)?),
            "store" => self.store = read_store(key, value)?,
            "store_password" => self.store_password = Some(read_secret_reference(key, value)?),
            "store_connections_max" => {
                self.store_connections_max = read_number(key, value, STORE_CONNECTIONS_RANGE)?;
            }
            "store_statement_s" => {
                self.store_statement_s = read_number(key, value, STORE_TIME_S_RANGE)?
            }
            "store_connect_s" => {
                self.store_connect_s = read_number(key, value, STORE_TIME_S_RANGE)?
            }
            "public_url" => self.public_url = Some(read_public_url(value)?),
            "admin_listen" => self.admin_listen = Some(read_address(key, value)?),
            "proxy_protocol" => self.proxy_protocol = read_boolean(key, value)?,
            "admin_proxy_protocol" => self.admin_proxy_protocol = read_boolean(key, value)?,
            "tls_certificate" => self.tls_certificate = Some(read_path(key, value)?),
            "tls_key" => self.tls_key = Some(read_path(key, value)?),
            "allowed_hosts" => self.allowed_hosts = read_host_names(key, value)?,
            "trusted_proxies" => self.trusted_proxies = read_networks(key, value)?,
            "proxy_user_header" => self.proxy_user_header = Some(read_header_name(key, value)?),
            "proxy_role_header" => self.proxy_role_header = Some(read_header_name(key, value)?),
            "proxy_secret" => self.proxy_secret = Some(read_secret_reference(key, value)?),
            "keep_alive_s" => self.keep_alive_s = read_number(key, value, KEEP_ALIVE_S_RANGE)?,
            "concurrent_runs_host" => {
                self.concurrent_runs_host = read_number(key, value, RUNS_RANGE)?
            }
            "memory_bytes_host" => {
                self.memory_bytes_host = Some(read_number(key, value, HOST_MEMORY_BYTES_RANGE)?)
            }
            "spool_bytes_max" => self.spool_bytes_max = read_number(key, value, SPOOL_BYTES_RANGE)?,
            "rescan_ms" => self.rescan_ms = read_number(key, value, PERIOD_MS_RANGE)?,
            "compile_for" => self.compile_for = read_compile_for(value)?,
            "compiled_bytes_max" => {
                self.compiled_bytes_max = read_number(key, value, COMPILED_BYTES_RANGE)?;
            }
            "events_days" => self.events_days = read_number(key, value, DAYS_RANGE)?,
            "events_max" => self.events_max = read_number(key, value, EVENTS_RANGE)?,
            "events_bytes_max" => {
                self.events_bytes_max = read_number(key, value, EVENTS_BYTES_RANGE)?
            }
            "audit_days" => self.audit_days = read_number(key, value, DAYS_RANGE)?,
            "sweep_ms" => self.sweep_ms = read_number(key, value, PERIOD_MS_RANGE)?,
            "lease_ms" => self.lease_ms = read_number(key, value, LEASE_MS_RANGE)?,
            "drain_ms" => self.drain_ms = read_number(key, value, DRAIN_MS_RANGE)?,
            "kpi_fresh_ms" => self.kpi_fresh_ms = read_number(key, value, KPI_FRESH_MS_RANGE)?,
            "extra_ca_file" => self.extra_ca_file = Some(read_path(key, value)?),
            "secret_file_roots" => self.secret_file_roots = read_absolute_paths(key, value)?,
            "secret_env_prefixes" => self.secret_env_prefixes = read_variable_prefixes(key, value)?,
            _ => return Err(unknown_key(key, TOP_LEVEL_KEYS.into_iter().chain(TABLE_NAMES), "")),
        }
        Ok(())
    }

    /// Checks that only the proxy can send the headers that name a signed-in person. For a Unix
    /// socket, the mode of its file decides who can send them.
    fn check_proxy_sign_in(&self) -> Result<(), KeyError> {
        let is_local = matches!(self.admin_address(), ListenAddress::Unix(_));
        let needs = |what: &str| Err(format!("`proxy_user_header` needs {what}"));
        match &self.proxy_user_header {
            None => Ok(()),
            Some(_) if is_local => Ok(()),
            Some(_) if self.trusted_proxies.is_empty() => {
                needs("`trusted_proxies`: any client can send the header")
            }
            Some(_) if self.proxy_secret.is_none() => needs(&format!(
                "`proxy_secret`: any program on the proxy's machine can send the header. Write a \
                 random secret of 16 characters or more into a file, set `proxy_secret = \
                 \"file:/path\"`, and let the proxy send it in the header {PROXY_SECRET_HEADER}"
            )),
            Some(_) => Ok(()),
        }
    }

    fn read_create(&mut self, table: Table) -> Result<(), KeyError> {
        for (key, value) in table {
            if key != "in_doubt_s" {
                return Err(unknown_key(&key, CREATE_KEYS.into_iter(), "create."));
            }
            self.in_doubt_s = match value.as_str() {
                Some("never") => None,
                _ => Some(read_number("create.in_doubt_s", &value, IN_DOUBT_S_RANGE)?),
            };
        }
        Ok(())
    }

    fn read_webhook(&mut self, table: Table) -> Result<(), KeyError> {
        let webhook = &mut self.webhook;
        for (key, value) in table {
            let full_key = format!("webhook.{key}");
            match key.as_str() {
                "requests_per_s" => {
                    webhook.requests_per_s = read_number(&full_key, &value, REQUESTS_RANGE)?
                }
                "requests_burst" => {
                    webhook.requests_burst = read_number(&full_key, &value, REQUESTS_RANGE)?
                }
                "create_defect_paths" => {
                    webhook.create_defect_paths = read_webhook_paths(&full_key, &value)?
                }
                "kpi_paths" => webhook.kpi_paths = read_webhook_paths(&full_key, &value)?,
                "defect_id" => webhook.defect_id_kind = read_defect_id_kind(&full_key, &value)?,
                "kpi_status" => {
                    let words = read_texts(&full_key, &value)?.try_into();
                    webhook.kpi_status = Some(words.map_err(|_| {
                        format!("`{full_key}` must be three texts: for ok, moderate and critical")
                    })?);
                }
                _ => return Err(unknown_key(&key, WEBHOOK_KEYS.into_iter(), "webhook.")),
            }
        }
        Ok(())
    }
}

/// A limit that a connector does not set has its value in `default_limits`.
fn read_connectors(
    value: Value,
    default_limits: Limits,
) -> Result<BTreeMap<ConnectorName, Limits>, KeyError> {
    let mut limits_by_connector = BTreeMap::new();
    for (name, value) in require_table("connectors", value)? {
        let connector: ConnectorName =
            name.parse().map_err(|error| format!("`connectors.{name}`: {error}"))?;
        let mut limits = default_limits;
        for (key, value) in require_table(&format!("connectors.{name}"), value)? {
            let prefix = format!("connectors.{name}.");
            if key != "limits" {
                return Err(unknown_key(&key, ["limits"].into_iter(), &prefix));
            }
            let full_key = format!("{prefix}limits");
            read_limits(&mut limits, require_table(&full_key, value)?, &full_key)?;
        }
        limits_by_connector.insert(connector, limits);
    }
    Ok(limits_by_connector)
}

/// `prefix` is the name of the section.
fn read_limits(limits: &mut Limits, table: Table, prefix: &str) -> Result<(), KeyError> {
    for (name, value) in table {
        check_limit_name(&name, prefix)?;
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        let number =
            number.ok_or_else(|| format!("`{prefix}.{name}` must be a whole number, 0 or more"))?;
        set_limit(limits, &name, number, prefix)?;
    }
    Ok(())
}

fn check_limit_name(name: &str, prefix: &str) -> Result<(), KeyError> {
    let mut names = Limits::TABLE.iter().map(|limit| limit.name);
    if names.clone().any(|known| known == name) {
        return Ok(());
    }
    Err(unknown_key(name, names.by_ref(), &format!("{prefix}.")))
}

fn set_limit(limits: &mut Limits, name: &str, value: u64, prefix: &str) -> Result<(), KeyError> {
    check_limit_name(name, prefix)?;
    limits.set(name, value).map_err(|error| format!("[{prefix}] {error}"))
}

/// Unprintable characters of keys and values are escaped.
fn one_line_error(location: &str, why: &str) -> ConfigError {
    let escaped =
        |c: char| if is_printable(c) { c.to_string() } else { c.escape_default().to_string() };
    let line = |text: &str| text.chars().map(escaped).collect();
    ConfigError { location: line(location), why: line(why) }
}

/// The error contains the most similar known key.
pub(super) fn unknown_key(
    key: &str,
    known: impl Iterator<Item = &'static str>,
    prefix: &str,
) -> KeyError {
    let nearest = nearest(key, known).map_or("", |(name, _)| name);
    format!("unknown key `{prefix}{key}`; the nearest is `{prefix}{nearest}`")
}

fn require_table(key: &str, value: Value) -> Result<Table, KeyError> {
    match value {
        Value::Table(table) => Ok(table),
        _ => Err(format!("`{key}` must be a table: write `[{key}]`")),
    }
}

/// Converts the text of a variable to a list or a whole number if the key has such a value and the
/// text can be converted; otherwise to a TOML text.
fn variable_value(key: &str, text: &str) -> Value {
    if LIST_KEYS.iter().chain(&oidc::LIST_KEYS).chain(&traces::LIST_KEYS).any(|list| *list == key) {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        return Value::Array(items.map(|item| Value::String(item.to_owned())).collect());
    }
    let number = text
        .trim()
        .parse()
        .ok()
        .filter(|_| key.ends_with("_ms") || key.ends_with("_s") || has_number_value(key));
    number.map_or_else(|| Value::String(text.to_owned()), Value::Integer)
}

/// Whether the value of a key is a whole number. The caller checks for the endings `_ms` and `_s`.
fn has_number_value(key: &str) -> bool {
    key.ends_with("_max")
        || Limits::TABLE.iter().any(|limit| limit.name == key)
        || matches!(
            key,
            "concurrent_runs_host"
                | "memory_bytes_host"
                | "events_days"
                | "audit_days"
                | "requests_burst"
        )
}

#[cfg(test)]
mod tests;
