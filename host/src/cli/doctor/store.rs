//! The database of the store, if it is PostgreSQL: whether it can be used, and what can lose a
//! defect.

use crate::app::postgres_settings;
use crate::config::Config;
use crate::store::{PostgresFindings, PostgresStore};

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
    let asked = serve::runtime()
        .and_then(|runtime| Ok(runtime.block_on(PostgresStore::inspect(settings))?));
    match asked {
        Ok(found) => of_database(&found),
        Err(error) => vec![fail(CHECK, error_line(&error), "correct what the message names")],
    }
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
    if found.asynchronous_standbys > 0 {
        let shown = format!("{} standbys, none is synchronous", found.asynchronous_standbys);
        let fix = "set synchronous_standby_names: otherwise a failover can lose what was stored";
        findings.push(warn("database standbys", shown, fix));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_pool_and_an_asynchronous_standby_are_reported() {
        let good = PostgresFindings {
            version: "15.1".to_owned(),
            clock_ahead_ms: -3,
            is_pooled: false,
            is_standby: false,
            asynchronous_standbys: 0,
        };
        assert!(of_database(&good).iter().all(|it| it.status == Status::Ok));
        let pooled = PostgresFindings { is_pooled: true, ..good.clone() };
        assert!(of_database(&pooled).iter().any(|it| it.fix.contains("session mode")));
        let standby = PostgresFindings { asynchronous_standbys: 1, ..good.clone() };
        let found = of_database(&standby);
        assert!(
            found.iter().any(|it| it.status == Status::Warn && it.found.contains("1 standbys"))
        );
        let late = PostgresFindings { clock_ahead_ms: 3_600_000, ..good };
        assert!(of_database(&late).iter().any(|it| it.status == Status::Warn));
    }
}
