//! How soon a decision about a connector takes effect at the other servers. Servers read new
//! decisions every two seconds, so a decision that takes effect sooner was sent by a notification.

use std::time::{Duration, Instant};

use jackfield_tests::{Postgres, TestHost, wait_for};

use super::{
    SHARE_AND_COMPILE_MAX_S, SHARE_MAX_S, await_version, build, roll_back, shown_connector,
    start_two, upload,
};

/// How often a server reads the decisions of the others without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Waits until a server uses the version with this hash. Returns how long it took.
#[track_caller]
fn time_until(host: &TestHost, sha256: &str, within_s: u64) -> Duration {
    let since = Instant::now();
    wait_for("the version of the other server", within_s, || {
        shown_connector(host).filter(|it| it["sha256"] == sha256 && it["status"] == "ready")
    });
    since.elapsed()
}

#[test]
fn a_rollback_takes_effect_at_other_servers_sooner_than_they_poll() {
    let postgres = Postgres::start();
    let (a, b) = start_two(&postgres);
    for (number, status) in [(1, 201), (2, 200)] {
        upload(&a, &build(number)).assert_status(status);
        await_version(&b, &build(number), SHARE_AND_COMPILE_MAX_S);
    }
    // Each rollback begins right after the other server has read the decisions, so its next poll is
    // two seconds later.
    let times: Vec<_> = (0..6)
        .map(|_| {
            let restored = roll_back(&a)["sha256"].as_str().expect("a hash").to_owned();
            time_until(&b, &restored, SHARE_MAX_S)
        })
        .collect();
    println!("{times:?}");
    assert!(
        times[1..].iter().any(|it| *it < POLL_INTERVAL / 2),
        "no rollback was sent by a notification: {times:?}"
    );
}

#[test]
fn an_upload_is_ready_at_other_servers_soon_after_the_first() {
    let postgres = Postgres::start();
    let (a, b) = start_two(&postgres);
    let times: Vec<_> = (1..=5)
        .map(|number| {
            let version = build(number);
            upload(&a, &version);
            await_version(&a, &version, SHARE_AND_COMPILE_MAX_S);
            time_until(&b, &version.sha256(), SHARE_AND_COMPILE_MAX_S)
        })
        .collect();
    println!("{times:?}");
    let is_notified = times[1..].iter().any(|it| *it < POLL_INTERVAL * 3 / 4);
    assert!(is_notified, "no upload was sent by a notification, or the server is slow: {times:?}");
}
