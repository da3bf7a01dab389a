//! Checks the address of a PostgreSQL database, which may have parameters of libpq.
//!
//! An error never contains the address, because it may contain a password.

use std::collections::BTreeSet;

use url::Url;

use super::values::KeyError;

/// The supported parameters of the address, in addition to `options[NAME]`.
const PARAMETERS: [&str; 11] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];
/// The value `allow` is not supported: with it, sqlx would never encrypt the connections to the
/// database.
const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// An unsupported parameter is refused, because a misspelled `sslmode` would disable the check of
/// the certificate.
pub(super) fn parse(key: &str, text: &str) -> Result<Url, KeyError> {
    let is_valid =
        |url: &Url| matches!(url.scheme(), "postgres" | "postgresql") && url.fragment().is_none();
    let parsed = text.parse::<Url>().ok().filter(is_valid);
    // A list of hosts with ports cannot be parsed as a URL.
    let authority = text.split("//").nth(1).and_then(|rest| rest.split(['/', '?']).next());
    let hosts = parsed.as_ref().map_or(authority, Url::host_str).unwrap_or_default();
    if hosts.contains(',') {
        return Err(several_hosts_error(key));
    }
    let url = parsed.ok_or_else(|| {
        format!("`{key}` must be \"sqlite\" or an address like postgres://user@host/database")
    })?;
    if url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password") {
        return Err(format!(
            "`{key}` must not contain the password: set `store_password` to file:/path or env:NAME"
        ));
    }
    let mut parameters = BTreeSet::new();
    for (name, value) in url.query_pairs() {
        check_parameter(key, &name, &value)?;
        // The last value would be used, but a person may notice only the first one.
        if !parameters.insert(name.clone()) {
            return Err(format!("`{key}`: the parameter `{name}` occurs more than once"));
        }
    }
    if parameters.contains("host") && parameters.contains("hostaddr") {
        return Err(format!("`{key}` must not have both `host` and `hostaddr`"));
    }
    Ok(url)
}

fn check_parameter(key: &str, name: &str, value: &str) -> Result<(), KeyError> {
    match name {
        "host" if value.contains(',') => Err(several_hosts_error(key)),
        "sslmode" if !SSL_MODES.contains(&value) => {
            Err(format!("`{key}`: `sslmode` must be one of {}", SSL_MODES.join(", ")))
        }
        _ if PARAMETERS.contains(&name) || name.starts_with("options[") => Ok(()),
        _ => Err(format!(
            "`{key}`: the parameter `{name}` has no effect; the supported parameters are {}",
            PARAMETERS.join(", ")
        )),
    }
}

fn several_hosts_error(key: &str) -> KeyError {
    format!(
        "`{key}` must name one host, not several: use a host name that leads to the primary, for \
         example with a virtual address or HAProxy"
    )
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn unsupported_parameters_and_several_hosts_are_refused() {
        for (address, expected) in [
            ("postgres://u@h/d?sslmod=verify-full", "`sslmod` has no effect"),
            ("postgres://u@h/d?ssl-mode=verify-full", "`ssl-mode` has no effect"),
            ("postgres://u@h/d?target_session_attrs=primary", "`target_session_attrs` has no"),
            ("postgres://u@h/d?sslmode=allow", "`sslmode` must be one of disable, prefer"),
            ("postgres://u@h/d?sslmode=verify-full&sslmode=disable", "`sslmode` occurs more"),
            ("postgres://u@h/d?hostaddr=10.0.0.1&host=a", "both `host` and `hostaddr`"),
            ("postgres://u@a,b/d", "must name one host"),
            ("postgres://u@a:1,b:2/d", "must name one host"),
            ("postgres://u@a/d?host=a,b", "must name one host"),
            ("postgres://u:p4ss@a/d", "must not contain the password"),
            ("mysql://u@a/d", "an address like postgres://"),
        ] {
            let error = parse("store", address).expect_err(address);
            assert!(error.contains(expected) && !error.contains("p4ss"), "{address}: {error}");
        }
        for address in [
            "postgres://u@h/d",
            "postgresql://u@h:5433/d?sslmode=verify-full&sslrootcert=/a,b.pem",
            "postgres://u@localhost/d?host=/run/postgresql&options[search_path]=a,b",
        ] {
            assert!(parse("store", address).is_ok(), "{address}");
        }
    }
}
