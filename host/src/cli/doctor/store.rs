//! The checks of `doctor` for a store in PostgreSQL: whether the database can be used, and whether
//! a failover can lose a defect. Never changes the database.

use std::net::IpAddr;

use url::Url;

use crate::app::postgres_settings;
use crate::config::Config;
use crate::store::{PostgresFindings, PostgresStore, Standbys};

use super::super::output::error_line;
use super::super::serve;
use super::{Finding, fail_finding, ok_finding, warn_finding};

const CHECK: &str = "database";
/// If the clocks of the database and of this machine differ by more than this time, a warning is
/// reported, milliseconds. Leases do not depend on this difference.
const CLOCK_DIFFERENCE_MS_MAX: u64 = 2_000;

/// Returns no finding if the store is a SQLite file.
pub(super) fn run_checks(config: &Config) -> Vec<Finding> {
    let settings = match postgres_settings(config) {
        Ok(Some(settings)) => settings,
        Ok(None) => return Vec::new(),
        Err(error) => {
            return vec![fail_finding(CHECK, error_line(&error), "correct `store_password`")];
        }
    };
    let certificate_finding = check_certificate_mode(&settings.url);
    let inspected = serve::start_runtime()
        .and_then(|runtime| Ok(runtime.block_on(PostgresStore::inspect(settings))?));
    let findings = match inspected {
        Ok(found) => describe_database(&found),
        Err(error) => {
            vec![fail_finding(
                CHECK,
                error_line(&error),
                "correct the problem that the message names",
            )]
        }
    };
    findings.into_iter().chain(certificate_finding).collect()
}

/// Warns if the database is on another machine and its certificate is not checked. Then each
/// machine on the network path could read and change all data.
fn check_certificate_mode(store: &Url) -> Option<Finding> {
    let parameter = |name| store.query_pairs().find(|(it, _)| it == name).map(|it| it.1);
    let host = parameter("hostaddr").or_else(|| parameter("host"));
    let host = host.or_else(|| store.host_str().map(Into::into)).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_local =
        host.is_empty() || host == "localhost" || host.starts_with('/') || host.starts_with("%2F");
    if is_local || address.is_ok_and(|it| it.is_loopback()) {
        return None;
    }
    let mode = parameter("sslmode").unwrap_or("prefer".into());
    let is_checked = matches!(&*mode, "verify-full" | "verify-ca");
    let found = || format!("`sslmode` is {mode}: the certificate of {host} is not checked");
    let fix = "add sslmode=verify-full and sslrootcert=FILE to `store`";
    (!is_checked).then(|| warn_finding("database encryption", found(), fix))
}

fn describe_database(found: &PostgresFindings) -> Vec<Finding> {
    let mut findings = vec![match found.is_standby {
        false => ok_finding(CHECK, format!("PostgreSQL {}", found.version)),
        true => fail_finding(
            CHECK,
            "the server is a standby, which only reads",
            "let `store` name the primary",
        ),
    }];
    let ahead = found.clock_ahead_ms;
    let shown =
        format!("the clocks of the database and of this machine differ by {} ms", ahead.abs());
    findings.push(match ahead.unsigned_abs() > CLOCK_DIFFERENCE_MS_MAX {
        false => ok_finding("database clock", shown),
        true => {
            warn_finding("database clock", shown, "set both machines' clocks, for example with NTP")
        }
    });
    if found.is_pooled {
        let shown = "two database connections share one session of PostgreSQL: a pool in \
                     transaction mode is between Jackfield and PostgreSQL";
        let fix = "let PgBouncer use session mode, or let `store` name PostgreSQL itself";
        findings.push(fail_finding("database pool", shown, fix));
    }
    findings.extend(check_standbys(found));
    findings
}

/// Reports if a failover can lose changes, because no standby is synchronous. Also reports if each
/// commit waits, or may wait, for standbys that do not confirm it.
fn check_standbys(found: &PostgresFindings) -> Option<Finding> {
    const CHECK: &str = "database standbys";
    let Standbys { connected, names, setting, required, confirming, user } = &found.standbys;
    let possible = confirming.unwrap_or(*connected);
    if found.is_standby || (*required, *connected) == (0, 0) {
        None
    } else if *required == 0 {
        let shown = format!("connected standbys: {connected}, but none is synchronous");
        let fix = "set synchronous_standby_names: otherwise a failover can lose stored changes";
        Some(warn_finding(CHECK, shown, fix))
    } else if *connected == 0 {
        let shown = "synchronous_standby_names is set, but no standby is connected: each commit \
                     waits until one is connected";
        let fix = "start the standby, or set synchronous_standby_names to ''";
        Some(fail_finding(CHECK, shown, fix))
    } else if possible < *required {
        let shown = format!(
            "synchronous_standby_names is '{setting}', so {required} of the standbys that it \
             names must confirm each commit, and {possible} of the connected ones ({names}) can: \
             each commit waits"
        );
        let fix = "let synchronous_standby_names contain the `application_name` of each standby, \
                   or start the standbys that it names";
        Some(fail_finding(CHECK, shown, fix))
    } else if confirming.is_none() {
        let shown = format!(
            "synchronous_standby_names is '{setting}'; the user {user} may not see whether it \
             names the connected standbys ({names}); if it names none of them, each commit waits"
        );
        let fix = format!("GRANT pg_read_all_stats TO {user}, and run `doctor` again");
        Some(warn_finding(CHECK, shown, fix))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_pool_in_transaction_mode_and_a_clock_difference_are_reported() {
        let good = PostgresFindings {
            version: "15.1".to_owned(),
            clock_ahead_ms: -3,
            is_pooled: false,
            is_standby: false,
            standbys: Standbys::default(),
        };
        assert!(describe_database(&good).iter().all(|it| it.status == Status::Ok));
        let pooled = PostgresFindings { is_pooled: true, ..good.clone() };
        assert!(describe_database(&pooled).iter().any(|it| it.fix.contains("session mode")));
        let late = PostgresFindings { clock_ahead_ms: 3_600_000, ..good };
        assert!(describe_database(&late).iter().any(|it| it.status == Status::Warn));
    }

    #[test]
    fn missing_and_asynchronous_standbys_are_reported() {
        // The first three values are the number of connected standbys, of required standbys, and of
        // standbys that can confirm a commit. The last number is `None` if it is not known.
        for (connected, required, confirming, expected) in [
            (0, 0, Some(0), None),
            (1, 0, Some(0), Some((Status::Warn, "connected standbys: 1"))),
            (1, 0, None, Some((Status::Warn, "connected standbys: 1"))),
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
            let finding = check_standbys(&found);
            let shown = finding.as_ref().map(|it| (it.status, it.found.as_str()));
            let is_expected = match (shown, expected) {
                (Some((status, shown)), Some((of, words))) => status == of && shown.contains(words),
                (shown, expected) => shown.is_none() && expected.is_none(),
            };
            assert!(is_expected, "{connected} {required} {confirming:?}: {shown:?}");
            let standby = PostgresFindings { is_standby: true, ..found };
            assert!(check_standbys(&standby).is_none());
        }
    }

    #[test]
    fn an_unchecked_certificate_of_another_machine_is_reported() {
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
            let finding = check_certificate_mode(&address.parse().unwrap());
            assert_eq!(finding.is_some(), is_reported, "{address}");
        }
    }
}
