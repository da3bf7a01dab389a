//! The database of the store, if it is PostgreSQL: whether it can be used, and what can lose a
//! defect.

use std::net::IpAddr;

use url::Url;

use crate::app::postgres_settings;
use crate::config::Config;
use crate::store::{PostgresFindings, PostgresStore, Standbys};

use super::super::output::error_line;
use super::super::serve;
use super::{Finding, fail, ok, warn};

const CHECK: &str = "database";
/// A difference of clocks that people should know of, milliseconds. Leases do not depend on it.
const AHEAD_MS_MAX: u64 = 2_000;

/// What is found about the database; nothing if the store is a file.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let settings = match postgres_settings(config) {
        Ok(Some(settings)) => settings,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![fail(CHECK, error_line(&error), "correct `store_password`")],
    };
    let unchecked = unchecked_certificate(&settings.url);
    let asked = serve::runtime()
        .and_then(|runtime| Ok(runtime.block_on(PostgresStore::inspect(settings))?));
    let found = match asked {
        Ok(found) => of_database(&found),
        Err(error) => vec![fail(CHECK, error_line(&error), "correct what the message names")],
    };
    found.into_iter().chain(unchecked).collect()
}

/// A database of another machine, of which any machine in between can read and change everything.
fn unchecked_certificate(store: &Url) -> Option<Finding> {
    let parameter = |name| store.query_pairs().find(|(it, _)| it == name).map(|it| it.1);
    let host = parameter("hostaddr").or_else(|| parameter("host"));
    let host = host.or_else(|| store.host_str().map(Into::into)).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_here =
        host.is_empty() || host == "localhost" || host.starts_with('/') || host.starts_with("%2F");
    if is_here || address.is_ok_and(|it| it.is_loopback()) {
        return None;
    }
    let mode = parameter("sslmode").unwrap_or("prefer".into());
    let is_checked = matches!(&*mode, "verify-full" | "verify-ca");
    let found = || format!("`sslmode` is {mode}: the certificate of {host} is not checked");
    let fix = "add sslmode=verify-full and sslrootcert=FILE to `store`";
    (!is_checked).then(|| warn("database encryption", found(), fix))
}

fn of_database(found: &PostgresFindings) -> Vec<Finding> {
    let mut findings = vec![match found.is_standby {
        false => ok(CHECK, format!("PostgreSQL {}", found.version)),
        true => fail(CHECK, "it is a standby, which only reads", "let `store` name the primary"),
    }];
    let ahead = found.clock_ahead_ms;
    let shown = format!("the database's clock differs by {} ms", ahead.abs());
    findings.push(match ahead.unsigned_abs() > AHEAD_MS_MAX {
        false => ok("database clock", shown),
        true => warn("database clock", shown, "set both machines' clocks, for example with NTP"),
    });
    if found.is_pooled {
        let shown =
            "two connections share one of PostgreSQL: a pool in transaction mode is between";
        let fix = "let PgBouncer use session mode, or let `store` name PostgreSQL itself";
        findings.push(fail("database pool", shown, fix));
    }
    findings.extend(of_standbys(found));
    findings
}

fn of_standbys(found: &PostgresFindings) -> Option<Finding> {
    const CHECK: &str = "database standbys";
    let Standbys { connected, names, setting, required, confirming, user } = &found.standbys;
    let possible = confirming.unwrap_or(*connected);
    if found.is_standby || (*required, *connected) == (0, 0) {
        None
    } else if *required == 0 {
        let shown = format!("{connected} standbys, none is synchronous");
        let fix = "set synchronous_standby_names: otherwise a failover can lose what was stored";
        Some(warn(CHECK, shown, fix))
    } else if *connected == 0 {
        let shown = "synchronous_standby_names is set, and no standby is connected: each commit \
                     waits for one";
        let fix = "start the standby, or set synchronous_standby_names to ''";
        Some(fail(CHECK, shown, fix))
    } else if possible < *required {
        let shown = format!(
            "synchronous_standby_names is '{setting}', so {required} of the standbys that it \
             names must confirm each commit, and {possible} of the connected ones ({names}) can: \
             each commit waits"
        );
        let fix = "let synchronous_standby_names have the `application_name` of each standby, or \
                   start the standbys that it names";
        Some(fail(CHECK, shown, fix))
    } else if confirming.is_none() {
        let shown = format!(
            "synchronous_standby_names is '{setting}'; the user {user} may not see if it names \
             the connected standbys ({names}): if not, each commit waits"
        );
        let fix = format!("GRANT pg_read_all_stats TO {user}, and run `doctor` again");
        Some(warn(CHECK, shown, fix))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_pool_and_a_wrong_clock_are_reported() {
        let good = PostgresFindings {
            version: "15.1".to_owned(),
            clock_ahead_ms: -3,
            is_pooled: false,
            is_standby: false,
            standbys: Standbys::default(),
        };
        assert!(of_database(&good).iter().all(|it| it.status == Status::Ok));
        let pooled = PostgresFindings { is_pooled: true, ..good.clone() };
        assert!(of_database(&pooled).iter().any(|it| it.fix.contains("session mode")));
        let late = PostgresFindings { clock_ahead_ms: 3_600_000, ..good };
        assert!(of_database(&late).iter().any(|it| it.status == Status::Warn));
    }

    #[test]
    fn commits_that_wait_or_that_no_standby_has_are_reported() {
        // Standbys that are connected, that are required and that can confirm.
        for (connected, required, confirming, expected) in [
            (0, 0, Some(0), None),
            (1, 0, Some(0), Some((Status::Warn, "1 standbys"))),
            (1, 0, None, Some((Status::Warn, "1 standbys"))),
            (0, 1, Some(0), Some((Status::Fail, "no standby is connected"))),
            (1, 1, Some(1), None),
            (1, 1, Some(0), Some((Status::Fail, "0 of the connected ones"))),
            (1, 1, None, Some((Status::Warn, "may not see"))),
            (1, 2, Some(1), Some((Status::Fail, "1 of the connected ones"))),
            (1, 2, None, Some((Status::Fail, "each commit waits"))),
            (3, 2, Some(2), None),
        ] {
            let standbys = Standbys { connected, required, confirming, ..Standbys::default() };
            let found = PostgresFindings {
                version: String::new(),
                clock_ahead_ms: 0,
                is_pooled: false,
                is_standby: false,
                standbys,
            };
            let finding = of_standbys(&found);
            let shown = finding.as_ref().map(|it| (it.status, it.found.as_str()));
            let is_expected = match (shown, expected) {
                (Some((status, shown)), Some((of, words))) => status == of && shown.contains(words),
                (shown, expected) => shown.is_none() && expected.is_none(),
            };
            assert!(is_expected, "{connected} {required} {confirming:?}: {shown:?}");
            let standby = PostgresFindings { is_standby: true, ..found };
            assert!(of_standbys(&standby).is_none());
        }
    }

    #[test]
    fn a_certificate_of_another_machine_that_is_not_checked_is_reported() {
        for (address, is_reported) in [
            ("postgres://u@db.example.com/d", true),
            ("postgres://u@10.0.0.7/d?sslmode=require", true),
            ("postgres://u@localhost/d?host=db.example.com", true),
            ("postgres://u@db.example.com/d?sslmode=verify-full", false),
            ("postgres://u@db.example.com/d?host=/run/postgresql", false),
            ("postgres://u@localhost/d", false),
            ("postgres://u@127.0.0.2/d", false),
            ("postgres://u@[::1]/d", false),
        ] {
            let finding = unchecked_certificate(&address.parse().unwrap());
            assert_eq!(finding.is_some(), is_reported, "{address}");
        }
    }
}
