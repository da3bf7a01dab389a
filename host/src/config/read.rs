//! Reads the configuration: TOML first, then the environment; each value is checked as it is read.
//!
//! Never guesses: what is not understood is an error.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::domain::{ConnectorName, Limits, Network, is_printable, nearest};

use super::{Config, ConfigError, DefectIdKind};

/// The keys of the top level that are values.
const KEYS: [&str; 21] = [
    "listen",
    "data",
    "plugins",
    "public_url",
    "admin_listen",
    "trusted_proxies",
    "concurrent_runs_host",
    "memory_bytes_host",
    "spool_bytes_max",
    "rescan_ms",
    "compiled_bytes_max",
    "events_days",
    "events_max",
    "events_bytes_max",
    "sweep_ms",
    "lease_ms",
    "drain_ms",
    "kpi_fresh_ms",
    "extra_ca_file",
    "secret_file_roots",
    "secret_env_prefixes",
];
/// The keys of the top level that are tables.
const TABLES: [&str; 4] = ["webhook", "create", "limits", "connectors"];
const WEBHOOK_KEYS: [&str; 6] = [
    "requests_per_s",
    "requests_burst",
    "create_defect_paths",
    "kpi_paths",
    "defect_id",
    "kpi_status",
];
const CREATE_KEYS: [&str; 1] = ["in_doubt_s"];
const LISTS: [&str; 6] = [
    "trusted_proxies",
    "secret_file_roots",
    "secret_env_prefixes",
    "create_defect_paths",
    "kpi_paths",
    "kpi_status",
];

/// Concurrent runs: the engine's pool has no more slots.
const RUNS: RangeInclusive<u64> = 1..=1_000;
/// From a few connectors of the largest kind to a terabyte.
const COMPILED_BYTES: RangeInclusive<u64> = 256 << 20..=1 << 40;
/// From a few small runs to a terabyte.
const HOST_BYTES: RangeInclusive<u64> = 64 << 20..=1 << 40;
/// From one large body for each of a few runs to a terabyte.
const SPOOL_BYTES: RangeInclusive<u64> = 16 << 20..=1 << 40;
const DAYS: RangeInclusive<u64> = 1..=3_650;
const EVENTS: RangeInclusive<u64> = 1..=1_000_000_000;
/// From a few events of the largest kind to a terabyte.
const EVENTS_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 40;
const REQUESTS: RangeInclusive<u64> = 1..=1_000_000;
/// From 50 ms to an hour.
const PERIOD_MS: RangeInclusive<u64> = 50..=3_600_000;
/// A lease must outlast a slow disk, and must not block a repeat for long after a crash.
const LEASE_MS: RangeInclusive<u64> = 1_000..=600_000;
/// Up to a week. The word "never" stands for no limit.
const IN_DOUBT_S: RangeInclusive<u64> = 1..=604_800;
/// Service managers kill what has not ended after 90 seconds or so.
const DRAIN_MS: RangeInclusive<u64> = 0..=600_000;
const FRESH_MS: RangeInclusive<u64> = 0..=3_600_000;

/// What is wrong with a key; the caller adds the file.
type KeyError = String;

pub(super) fn load(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    let place = file.map(|path| path.display().to_string()).unwrap_or_default();
    let in_file = |why: KeyError| error_at(&place, &why);
    let mut table = match file {
        Some(path) => parse(path).map_err(in_file)?,
        None => Table::new(),
    };
    let connectors = table.remove("connectors");
    config.read_table(table).map_err(in_file)?;
    for (name, text) in env {
        config.read_variable(&name, &text)?;
    }
    if let Some(connectors) = connectors {
        let limits = read_connectors(connectors, config.limits).map_err(in_file)?;
        config.connector_limits = limits;
    }
    Ok(config)
}

fn parse(path: &Path) -> Result<Table, KeyError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("cannot be read: {error}; name the configuration with --config FILE")
    })?;
    text.parse::<Table>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("line {line} is not TOML: {}", error.message().replace('\n', " "))
    })
}

impl Config {
    fn read_table(&mut self, table: Table) -> Result<(), KeyError> {
        for (key, value) in table {
            match key.as_str() {
                "webhook" => self.read_webhook(as_table("webhook", value)?)?,
                "create" => self.read_create(as_table("create", value)?)?,
                "limits" => read_limits(&mut self.limits, as_table("limits", value)?, "limits")?,
                _ => self.set(&key, &value)?,
            }
        }
        Ok(())
    }

    fn read_variable(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let Some(key) = name.strip_prefix("JACKFIELD_") else { return Ok(()) };
        let key = key.to_ascii_lowercase();
        let in_env = |why: KeyError| error_at(&format!("${name}"), &why);
        if let Some(limit) = key.strip_prefix("limits_") {
            let value = text
                .trim()
                .parse()
                .map_err(|_| in_env(format!("`limits.{limit}` must be a whole number")))?;
            return set_limit(&mut self.limits, limit, value, "limits").map_err(in_env);
        }
        if let Some(webhook) = key.strip_prefix("webhook_") {
            let value = variable_value(webhook, text);
            return self
                .read_webhook([(webhook.to_owned(), value)].into_iter().collect())
                .map_err(in_env);
        }
        if let Some(create) = key.strip_prefix("create_") {
            let value = variable_value(create, text);
            return self
                .read_create([(create.to_owned(), value)].into_iter().collect())
                .map_err(in_env);
        }
        if KEYS.contains(&key.as_str()) {
            self.set(&key, &variable_value(&key, text)).map_err(in_env)?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), KeyError> {
        match key {
            "listen" => self.listen = address(key, value)?,
            "data" => self.data = path(key, value)?,
            "plugins" => self.plugins = path(key, value)?,
            "public_url" => self.public_url = Some(public_url(value)?),
            "admin_listen" => self.admin_listen = Some(address(key, value)?),
            "trusted_proxies" => self.trusted_proxies = networks(key, value)?,
            "concurrent_runs_host" => self.concurrent_runs_host = number(key, value, RUNS)?,
            "memory_bytes_host" => self.memory_bytes_host = Some(number(key, value, HOST_BYTES)?),
            "spool_bytes_max" => self.spool_bytes_max = number(key, value, SPOOL_BYTES)?,
            "rescan_ms" => self.rescan_ms = number(key, value, PERIOD_MS)?,
            "compiled_bytes_max" => {
                self.compiled_bytes_max = number(key, value, COMPILED_BYTES)?;
            }
            "events_days" => self.events_days = number(key, value, DAYS)?,
            "events_max" => self.events_max = number(key, value, EVENTS)?,
            "events_bytes_max" => self.events_bytes_max = number(key, value, EVENTS_BYTES)?,
            "sweep_ms" => self.sweep_ms = number(key, value, PERIOD_MS)?,
            "lease_ms" => self.lease_ms = number(key, value, LEASE_MS)?,
            "drain_ms" => self.drain_ms = number(key, value, DRAIN_MS)?,
            "kpi_fresh_ms" => self.kpi_fresh_ms = number(key, value, FRESH_MS)?,
            "extra_ca_file" => self.extra_ca_file = Some(path(key, value)?),
            "secret_file_roots" => self.secret_file_roots = roots(key, value)?,
            "secret_env_prefixes" => self.secret_env_prefixes = prefixes(key, value)?,
            _ => return Err(unknown(key, KEYS.into_iter().chain(TABLES), "")),
        }
        Ok(())
    }

    fn read_create(&mut self, table: Table) -> Result<(), KeyError> {
        for (key, value) in table {
            if key != "in_doubt_s" {
                return Err(unknown(&key, CREATE_KEYS.into_iter(), "create."));
            }
            self.in_doubt_s = match value.as_str() {
                Some("never") => None,
                _ => Some(number("create.in_doubt_s", &value, IN_DOUBT_S)?),
            };
        }
        Ok(())
    }

    fn read_webhook(&mut self, table: Table) -> Result<(), KeyError> {
        let webhook = &mut self.webhook;
        for (key, value) in table {
            let full = format!("webhook.{key}");
            match key.as_str() {
                "requests_per_s" => webhook.requests_per_s = number(&full, &value, REQUESTS)?,
                "requests_burst" => webhook.requests_burst = number(&full, &value, REQUESTS)?,
                "create_defect_paths" => webhook.create_defect_paths = paths(&full, &value)?,
                "kpi_paths" => webhook.kpi_paths = paths(&full, &value)?,
                "defect_id" => webhook.defect_id = defect_id(&full, &value)?,
                "kpi_status" => {
                    let words = texts(&full, &value)?.try_into();
                    webhook.kpi_status = Some(words.map_err(|_| {
                        format!("`{full}` must be three texts: for ok, moderate and critical")
                    })?);
                }
                _ => return Err(unknown(&key, WEBHOOK_KEYS.into_iter(), "webhook.")),
            }
        }
        Ok(())
    }
}

fn read_connectors(
    value: Value,
    base: Limits,
) -> Result<BTreeMap<ConnectorName, Limits>, KeyError> {
    let mut all = BTreeMap::new();
    for (name, value) in as_table("connectors", value)? {
        let connector: ConnectorName =
            name.parse().map_err(|error| format!("`connectors.{name}`: {error}"))?;
        let mut limits = base;
        for (key, value) in as_table(&format!("connectors.{name}"), value)? {
            let prefix = format!("connectors.{name}.");
            if key != "limits" {
                return Err(unknown(&key, ["limits"].into_iter(), &prefix));
            }
            let full = format!("{prefix}limits");
            read_limits(&mut limits, as_table(&full, value)?, &full)?;
        }
        all.insert(connector, limits);
    }
    Ok(all)
}

fn read_limits(limits: &mut Limits, table: Table, prefix: &str) -> Result<(), KeyError> {
    for (name, value) in table {
        check_limit_name(&name, prefix)?;
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        let number =
            number.ok_or_else(|| format!("`{prefix}.{name}` must be a positive whole number"))?;
        set_limit(limits, &name, number, prefix)?;
    }
    Ok(())
}

fn check_limit_name(name: &str, prefix: &str) -> Result<(), KeyError> {
    let mut names = Limits::TABLE.iter().map(|limit| limit.name);
    if names.clone().any(|known| known == name) {
        return Ok(());
    }
    Err(unknown(name, names.by_ref(), &format!("{prefix}.")))
}

fn set_limit(limits: &mut Limits, name: &str, value: u64, prefix: &str) -> Result<(), KeyError> {
    check_limit_name(name, prefix)?;
    limits.set(name, value).map_err(|error| format!("[{prefix}] {error}"))
}

/// Keys and values are repeated as they were written, in one line.
fn error_at(place: &str, why: &str) -> ConfigError {
    let shown =
        |c: char| if is_printable(c) { c.to_string() } else { c.escape_default().to_string() };
    let line = |text: &str| text.chars().map(shown).collect();
    ConfigError { place: line(place), why: line(why) }
}

fn unknown(key: &str, known: impl Iterator<Item = &'static str>, prefix: &str) -> KeyError {
    let nearest = nearest(key, known).map_or("", |(name, _)| name);
    format!("unknown key `{prefix}{key}`; the nearest is `{prefix}{nearest}`")
}

fn as_table(key: &str, value: Value) -> Result<Table, KeyError> {
    match value {
        Value::Table(table) => Ok(table),
        _ => Err(format!("`{key}` must be a table: write `[{key}]`")),
    }
}

/// A variable is a text; its key decides how it is read.
fn variable_value(key: &str, text: &str) -> Value {
    if LISTS.contains(&key) {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        return Value::Array(items.map(|item| Value::String(item.to_owned())).collect());
    }
    let number = text
        .trim()
        .parse()
        .ok()
        .filter(|_| key.ends_with("_ms") || key.ends_with("_s") || counts(key));
    number.map_or_else(|| Value::String(text.to_owned()), Value::Integer)
}

fn counts(key: &str) -> bool {
    key.ends_with("_max")
        || matches!(
            key,
            "concurrent_runs_host" | "memory_bytes_host" | "events_days" | "requests_burst"
        )
}

fn number<T: TryFrom<u64>>(
    key: &str,
    value: &Value,
    allowed: RangeInclusive<u64>,
) -> Result<T, KeyError> {
    value
        .as_integer()
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| allowed.contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| {
            format!(
                "`{key}` must be a whole number from {} to {}, not {value}",
                allowed.start(),
                allowed.end()
            )
        })
}

fn text<'a>(key: &str, value: &'a Value) -> Result<&'a str, KeyError> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| format!("`{key}` must be a non-empty text"))
}

fn texts(key: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let items = value.as_array().ok_or_else(|| format!("`{key}` must be a list of texts"))?;
    items.iter().map(|item| text(key, item).map(str::to_owned)).collect()
}

fn address(key: &str, value: &Value) -> Result<SocketAddr, KeyError> {
    let text = text(key, value)?;
    text.parse().map_err(|_| {
        format!(
            "`{key}` = {text:?} is not an address: write an IP address and a port, like 127.0.0.1:8080"
        )
    })
}

fn networks(key: &str, value: &Value) -> Result<Vec<Network>, KeyError> {
    let networks = texts(key, value)?;
    networks.iter().map(|text| text.parse().map_err(|why| format!("`{key}`: {why}"))).collect()
}

fn path(key: &str, value: &Value) -> Result<PathBuf, KeyError> {
    text(key, value).map(PathBuf::from)
}

fn roots(key: &str, value: &Value) -> Result<Vec<PathBuf>, KeyError> {
    let roots: Vec<PathBuf> = texts(key, value)?.into_iter().map(PathBuf::from).collect();
    match roots.iter().find(|root| !root.is_absolute()) {
        Some(root) => Err(format!("`{key}`: {} must begin with /", root.display())),
        None => Ok(roots),
    }
}

fn prefixes(key: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let prefixes = texts(key, value)?;
    let plain = |text: &&String| !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match prefixes.iter().find(plain) {
        Some(odd) => Err(format!("`{key}`: {odd:?} must be letters, digits and _")),
        None => Ok(prefixes),
    }
}

fn paths(key: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let paths = texts(key, value)?;
    let odd = |path: &&String| !path.starts_with('/') || path.contains(['?', '#', ' ']);
    match paths.iter().find(odd) {
        Some(odd) => Err(format!("`{key}`: {odd:?} must be a path that begins with /")),
        None => Ok(paths),
    }
}

fn defect_id(key: &str, value: &Value) -> Result<DefectIdKind, KeyError> {
    match text(key, value)? {
        "key" => Ok(DefectIdKind::Key),
        "uuid" => Ok(DefectIdKind::Uuid),
        other => Err(format!("`{key}` must be \"key\" or \"uuid\", not {other:?}")),
    }
}

fn public_url(value: &Value) -> Result<url::Url, KeyError> {
    let text = text("public_url", value)?;
    let plain = |url: &url::Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.path().bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b))
    };
    text.parse().ok().filter(plain).ok_or_else(|| {
        "`public_url` must be http:// or https:// with a host and at most a path prefix (letters, \
         digits, - . _ ~), without user, query or fragment"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../jackfield.toml");

    fn read(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("c.toml");
        std::fs::write(&path, text).expect("a new file");
        let env = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        load(Some(&path), env).map_err(|error| error.to_string())
    }

    #[test]
    fn the_shipped_file_shows_every_key_with_its_default() {
        assert_eq!(read(SHIPPED, &[]), Ok(Config::default()));
        let limits = Limits::TABLE.iter().map(|limit| limit.name);
        for key in KEYS.into_iter().chain(WEBHOOK_KEYS).chain(CREATE_KEYS).chain(limits) {
            let shown = |line: &str| {
                line.trim_start_matches("# ").split(" = ").next().is_some_and(|word| word == key)
            };
            assert!(SHIPPED.lines().any(shown), "`{key}` is not in jackfield.toml");
        }
    }

    #[test]
    fn settings_that_are_commented_out_are_valid_too() {
        let opened: Vec<&str> = SHIPPED
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line))
            .collect();
        let config = read(&opened.join("\n"), &[]).expect("a valid file");
        assert!(config.public_url.is_some() && config.webhook.kpi_status.is_some());
        assert_eq!(config.connector_limits.len(), 1);
    }

    fn is_setting(line: &str) -> bool {
        line.starts_with('[')
            || line
                .split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    }

    #[test]
    fn the_environment_overrides_and_other_variables_are_ignored() {
        let env = [
            ("JACKFIELD_LISTEN", "127.0.0.1:1"),
            ("JACKFIELD_LIMITS_CPU_MS", "7"),
            ("JACKFIELD_SECRET_FILE_ROOTS", "/a, /b"),
            ("JACKFIELD_WEBHOOK_DEFECT_ID", "uuid"),
            ("JACKFIELD_WEBHOOK_CREATE_DEFECT_PATHS", "/a,/b"),
            ("JACKFIELD_URL", "x"),
            ("JACKFIELD_SECRET_X", "y"),
            ("PATH", "z"),
        ];
        let text = "listen = \"127.0.0.1:2\"\n[connectors.a.limits]\nhandles = 3\n";
        let config = read(text, &env).expect("a valid configuration");
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.webhook.defect_id, DefectIdKind::Uuid);
        assert_eq!(config.webhook.create_defect_paths, ["/a", "/b"]);
        assert_eq!(config.secret_file_roots, [PathBuf::from("/a"), PathBuf::from("/b")]);
        let one = config.limits_of(&"a".parse().expect("a name"));
        assert_eq!((one.cpu_ms, one.handles), (7, 3), "a connector's limits begin at the host's");
    }

    #[test]
    fn an_error_is_one_line_that_names_the_key() {
        for (text, words) in [
            ("publik_url = 1", ["publik_url", "public_url"]),
            ("[limits]\ncpu = 5", ["limits.cpu", "cpu_ms"]),
            ("[limits]\ncpu_ms = 0", ["cpu_ms", "1 to"]),
            ("[limits]\ncpu_ms = \"a\"", ["cpu_ms", "number"]),
            ("[connectors.A.limits]", ["connectors.A", "a-z"]),
            ("[connectors.a]\nlimit = 1", ["connectors.a.limit", "limits"]),
            ("\n\nlisten = ", ["line 3", "c.toml"]),
            ("listen = \"here\"", ["listen", "127.0.0.1:8080"]),
            ("lease_ms = 1", ["lease_ms", "1000"]),
            ("[webhook]\ndefect_id = \"x\"", ["webhook.defect_id", "uuid"]),
            ("public_url = \"ftp://a\"", ["public_url", "http"]),
            ("public_url = \"http://a/:b\"", ["public_url", "prefix"]),
            ("webhook = 1", ["webhook", "table"]),
            ("\"a\\nb\" = 1", ["a\\nb", "nearest"]),
            ("trusted_proxies = [\"10.0.0.0/33\"]", ["trusted_proxies", "10.0.0.0/8"]),
            ("events_max = \"\\r\"", ["events_max", "\\r"]),
            ("[connectors.\"a\\nb\"]", ["connectors.a\\nb", "a-z"]),
        ] {
            let error = read(text, &[]).expect_err(text);
            assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
            assert!(!error.contains('\n') && error.contains("c.toml"), "{error}");
        }
        let error = read("", &[("JACKFIELD_SWEEP_MS", "soon")]).expect_err("no number");
        let unknown = read("", &[("JACKFIELD_WEBHOOK_PATHS", "/a")]).expect_err("no such key");
        assert!(unknown.contains("`webhook.paths`"), "{unknown}");
        assert!(error.contains("JACKFIELD_SWEEP_MS") && error.contains("sweep_ms"), "{error}");
    }
}
