//! Tests how the configuration file and the environment variables are read.

use std::path::PathBuf;

use super::*;
use crate::config::DefectIdKind;

const SHIPPED_FILE: &str = include_str!("../../../../jackfield.toml");

fn read_config(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("c.toml");
    std::fs::write(&path, text).expect("a new file");
    let env = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    load(Some(&path), env).map_err(|error| error.to_string())
}

#[test]
fn the_shipped_file_shows_every_key_with_its_default() {
    assert_eq!(read_config(SHIPPED_FILE, &[]), Ok(Config::default()));
    let limits = Limits::TABLE.iter().map(|limit| limit.name);
    let tables = WEBHOOK_KEYS.into_iter().chain(CREATE_KEYS).chain(oidc::KEYS).chain(traces::KEYS);
    for key in TOP_LEVEL_KEYS.into_iter().chain(tables).chain(limits) {
        let has_key = |line: &str| {
            line.trim_start_matches("# ").split(" = ").next().is_some_and(|word| word == key)
        };
        assert!(SHIPPED_FILE.lines().any(has_key), "`{key}` is not in jackfield.toml");
    }
}

#[test]
fn commented_out_settings_of_the_shipped_file_are_valid() {
    let uncommented: Vec<&str> = SHIPPED_FILE
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line))
        .collect();
    let uncommented =
        uncommented.join("\n").replace("trusted_proxies = []", "trusted_proxies = [\"::1\"]");
    let config = read_config(&uncommented, &[]).expect("a valid file");
    assert!(config.public_url.is_some() && config.webhook.kpi_status.is_some());
    assert!(config.oidc.is_some() && config.traces.is_some());
    assert!(config.proxy_user_header.is_some());
    assert!(config.proxy_secret.is_some());
    assert_eq!(config.connector_limits.len(), 1);
}

/// Whether a line is a setting or the heading of a section.
fn is_setting(line: &str) -> bool {
    line.starts_with('[')
        || line
            .split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
}

#[test]
fn the_store_is_the_source_of_connectors_only_if_servers_can_share_the_store() {
    let source = |text: &str| read_config(text, &[]).map(|config| config.plugins_source());
    let postgres = "store = \"postgres://u@db/x\"\n";
    assert_eq!(source(""), Ok(PluginsSource::Folder));
    assert_eq!(source(postgres), Ok(PluginsSource::Store));
    let folder = format!("{postgres}plugins_source = \"folder\"");
    assert_eq!(source(&folder), Ok(PluginsSource::Folder));
    for store in ["", "store = \"sqlite\"\n"] {
        let refused = source(&format!("{store}plugins_source = \"store\"")).unwrap_err();
        assert!(refused.contains("set `store` to a PostgreSQL address"), "{refused}");
    }
    let env = [("JACKFIELD_STORE", "postgres://u@db/x"), ("JACKFIELD_PLUGINS_SOURCE", "store")];
    assert_eq!(
        read_config("", &env).map(|config| config.plugins_source()),
        Ok(PluginsSource::Store)
    );
    assert!(source("plugins_source = \"git\"").unwrap_err().contains("\"folder\" or \"store\""));
}

#[test]
fn the_environment_overrides_the_file_and_other_variables_are_ignored() {
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
    let config = read_config(text, &env).expect("a valid configuration");
    assert_eq!(config.listen.to_string(), "127.0.0.1:1");
    assert_eq!(config.webhook.defect_id_kind, DefectIdKind::Uuid);
    assert_eq!(config.webhook.create_defect_paths, ["/a", "/b"]);
    assert_eq!(config.secret_file_roots, [PathBuf::from("/a"), PathBuf::from("/b")]);
    let limits = config.limits_of(&"a".parse().expect("a name"));
    assert_eq!(
        (limits.cpu_ms, limits.handles),
        (7, 3),
        "a limit that the connector does not set has the value of [limits]"
    );
}

#[test]
fn empty_variables_and_line_ends_are_ignored() {
    let env = [
        ("JACKFIELD_PUBLIC_URL", ""),
        ("JACKFIELD_LIMITS_CPU_MS", " "),
        ("JACKFIELD_CREATE_IN_DOUBT_S", "\r\n"),
        ("JACKFIELD_TRUSTED_PROXIES", ""),
        ("JACKFIELD_WEBHOOK_DEFECT_ID", "uuid\r"),
        ("JACKFIELD_LISTEN", "127.0.0.1:1\n"),
        ("JACKFIELD_LEASE_MS", "7000\r\n"),
        ("JACKFIELD_WEBHOOK_SERVICE_HOST", "10.0.0.1"),
        ("JACKFIELD_WEBHOOK_PORT", "tcp://10.0.0.1:80"),
        ("JACKFIELD_LIMITS_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("JACKFIELD_PORT", "tcp://10.0.0.1:80"),
    ];
    let text = "trusted_proxies = [\"10.0.0.1\"]\npublic_url = \"http://a\"";
    let config = read_config(text, &env).expect("a valid configuration");
    assert_eq!((config.trusted_proxies.len(), config.public_url.is_some()), (1, true));
    assert_eq!((config.limits.cpu_ms, config.in_doubt_s), (1_000, Some(900)));
    assert_eq!((config.listen.to_string(), config.lease_ms), ("127.0.0.1:1".to_owned(), 7_000));
    assert_eq!(config.webhook.defect_id_kind, DefectIdKind::Uuid);
}

#[test]
fn a_proxy_that_uses_a_unix_socket_needs_no_secret() {
    for (listen, is_local) in [
        ("listen = \"unix:/run/x.sock\"", true),
        ("admin_listen = \"unix:/run/x.sock\"", true),
        ("listen = \"unix:/run/x.sock\"\nadmin_listen = \"127.0.0.1:1\"", false),
    ] {
        let text = format!("{listen}\nproxy_user_header = \"x-user\"");
        assert_eq!(read_config(&text, &[]).is_ok(), is_local, "{listen}");
    }
}

#[test]
fn an_error_is_one_line_that_contains_the_key() {
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
        ("proxy_user_header = \"x-user\"", ["proxy_user_header", "trusted_proxies"]),
        (
            "proxy_user_header = \"x-user\"\ntrusted_proxies = [\"127.0.0.1\"]",
            ["`proxy_secret`", "file:/path"],
        ),
        ("proxy_secret = \"0123456789abcdef\"", ["proxy_secret", "file:/path"]),
        ("proxy_user_header = \"x user\"", ["proxy_user_header", "header"]),
        ("allowed_hosts = [\"https://a.example\"]", ["allowed_hosts", "host name"]),
        ("[oidc]\nissuer = \"https://id.example\"", ["oidc", "admins"]),
        ("events_max = \"\\r\"", ["events_max", "\\r"]),
        ("[connectors.\"a\\nb\"]", ["connectors.a\\nb", "a-z"]),
    ] {
        let error = read_config(text, &[]).expect_err(text);
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        assert!(!error.contains('\n') && error.contains("c.toml"), "{error}");
    }
    let error = read_config("", &[("JACKFIELD_SWEEP_MS", "soon")]).expect_err("no number");
    let limit = read_config("", &[("JACKFIELD_LIMITS_CPU_MS", "much")]).expect_err("no number");
    assert!(limit.contains("`limits.cpu_ms` must be"), "{limit}");
    assert!(error.contains("JACKFIELD_SWEEP_MS") && error.contains("sweep_ms"), "{error}");
}
