//! Checks the address of a PostgreSQL database. Its parameters are those of libpq.
//!
//! Never shows the address, which may contain a password.

use std::collections::BTreeSet;

use url::Url;

use super::values::KeyError;

/// The parameters that have an effect.
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
/// The values of `sslmode`. `allow` of libpq would never encrypt here.
const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// Reads an address. A parameter without an effect is refused: a misspelled `sslmode` would not
/// check the certificate.
pub(super) fn parse(key: &str, text: &str) -> Result<Url, KeyError> {
    let is_valid =
        |url: &Url| matches!(url.scheme(), "postgres" | "postgresql") && url.fragment().is_none();
    let parsed = text.parse::<Url>().ok().filter(is_valid);
    // A list with ports is not a URL.
    let authority = text.split("//").nth(1).and_then(|rest| rest.split(['/', '?']).next());
    let hosts = parsed.as_ref().map_or(authority, Url::host_str).unwrap_or_default();
    if hosts.contains(',') {
        return Err(several_hosts(key));
    }
    let url = parsed.ok_or_else(|| {
        format!("`{key}` must be \"sqlite\" or an address like postgres://user@host/database")
    })?;
    if url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password") {
        return Err(format!(
            "`{key}` must not contain the password: set `store_password` to file:/path or env:NAME"
        ));
    }
    let mut given = BTreeSet::new();
    for (name, value) in url.query_pairs() {
        check(key, &name, &value)?;
        // The last one would be used, while a reader sees the first.
        if !given.insert(name.clone()) {
            return Err(format!("`{key}`: the parameter `{name}` is there more than once"));
        }
    }
    if given.contains("host") && given.contains("hostaddr") {
        return Err(format!("`{key}` must not have both `host` and `hostaddr`"));
    }
    Ok(url)
}

fn check(key: &str, name: &str, value: &str) -> Result<(), KeyError> {
    match name {
        "host" if value.contains(',') => Err(several_hosts(key)),
        "sslmode" if !SSL_MODES.contains(&value) => {
            Err(format!("`{key}`: `sslmode` must be one of {}", SSL_MODES.join(", ")))
        }
        _ if PARAMETERS.contains(&name) || name.starts_with("options[") => Ok(()),
        _ => Err(format!(
            "`{key}`: the parameter `{name}` has no effect; those that have one are {}",
            PARAMETERS.join(", ")
        )),
    }
}

fn several_hosts(key: &str) -> KeyError {
    format!(
        "`{key}` must name one host, not several: let the name lead to the primary, for example by \
         a virtual address or HAProxy"
    )
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_parameter_without_an_effect_and_several_hosts_are_refused() {
        for (address, says) in [
            ("postgres://u@h/d?sslmod=verify-full", "`sslmod` has no effect"),
            ("postgres://u@h/d?ssl-mode=verify-full", "`ssl-mode` has no effect"),
            ("postgres://u@h/d?target_session_attrs=primary", "`target_session_attrs` has no"),
            ("postgres://u@h/d?sslmode=allow", "`sslmode` must be one of disable, prefer"),
            ("postgres://u@h/d?sslmode=verify-full&sslmode=disable", "`sslmode` is there more"),
            ("postgres://u@h/d?hostaddr=10.0.0.1&host=a", "both `host` and `hostaddr`"),
            ("postgres://u@a,b/d", "must name one host"),
            ("postgres://u@a:1,b:2/d", "must name one host"),
            ("postgres://u@a/d?host=a,b", "must name one host"),
            ("postgres://u:p4ss@a/d", "must not contain the password"),
            ("mysql://u@a/d", "an address like postgres://"),
        ] {
            let error = parse("store", address).expect_err(address);
            assert!(error.contains(says) && !error.contains("p4ss"), "{address}: {error}");
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
