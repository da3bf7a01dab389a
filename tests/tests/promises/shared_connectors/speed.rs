//! Tests how soon a change of a connector takes effect at the other servers. Without a
//! notification, a server reads new changes every two seconds.

use std::time::{Duration, Instant};

use jackfield_tests::{Postgres, TestHost, wait_for};

use super::{
    SHARE_AND_COMPILE_MAX_S, SHARE_MAX_S, await_version, guest_with_build, roll_back,
    shown_connector, start_two_servers, upload,
};

/// After how much time a server reads the changes of the other servers, if it gets no notification.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Waits until a server uses the version with this hash. Returns how long this took.
#[track_caller]
fn time_until_in_use(host: &TestHost, sha256: &str, within_s: u64) -> Duration {
    let since = Instant::now();
    wait_for("the version of the other server", within_s, || {
        shown_connector(host).filter(|it| it["sha256"] == sha256 && it["status"] == "ready")
    });
    since.elapsed()
}

#[test]
fn a_rollback_takes_effect_at_other_servers_sooner_than_they_poll() {
    let postgres = Postgres::start();
    let (a, b) = start_two_servers(&postgres);
    for (number, status) in [(1, 201), (2, 200)] {
        upload(&a, &guest_with_build(number)).assert_status(status);
        await_version(&b, &guest_with_build(number), SHARE_AND_COMPILE_MAX_S);
    }
    // Each rollback except the first begins right after the other server has read the changes. So
    // the next poll of the other server is two seconds later.
    let times: Vec<_> = (0..6)
        .map(|_| {
            let restored = roll_back(&a)["sha256"].as_str().expect("a hash").to_owned();
            time_until_in_use(&b, &restored, SHARE_MAX_S)
        })
        .collect();
    println!("{times:?}");
    assert!(
        times[1..].iter().any(|it| *it < POLL_INTERVAL / 2),
        "no notification announced a rollback: {times:?}"
    );
}

#[test]
fn an_upload_is_ready_at_other_servers_soon_after_the_first_server() {
    let postgres = Postgres::start();
    let (a, b) = start_two_servers(&postgres);
    let times: Vec<_> = (1..=5)
        .map(|number| {
            let version = guest_with_build(number);
            upload(&a, &version);
            await_version(&a, &version, SHARE_AND_COMPILE_MAX_S);
            time_until_in_use(&b, &version.sha256(), SHARE_AND_COMPILE_MAX_S)
        })
        .collect();
    println!("{times:?}");
    let is_notified = times[1..].iter().any(|it| *it < POLL_INTERVAL * 3 / 4);
    assert!(is_notified, "no notification announced an upload, or the server is slow: {times:?}");
}
