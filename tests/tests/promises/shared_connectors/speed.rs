//! How soon a decision about a connector holds at the other servers. They ask for decisions
//! themselves every two seconds, so only a notification is sooner.

use std::time::{Duration, Instant};

use jackfield_tests::{Postgres, TestHost, wait_for};

use super::{COMPILED_S, SHARED_S, await_version, build, roll_back, shown, two, upload};

/// How often a server asks for the decisions of the others by itself.
const POLL: Duration = Duration::from_secs(2);

/// The time until a server uses the version with this hash.
#[track_caller]
fn time_until(host: &TestHost, sha256: &str, within_s: u64) -> Duration {
    let since = Instant::now();
    wait_for("the version of the other server", within_s, || {
        shown(host).filter(|it| it["sha256"] == sha256 && it["status"] == "ready")
    });
    since.elapsed()
}

#[test]
fn a_roll_back_reaches_the_other_servers_sooner_than_they_ask() {
    let postgres = Postgres::start();
    let (a, b) = two(&postgres);
    for (number, status) in [(1, 201), (2, 200)] {
        upload(&a, &build(number)).assert_status(status);
        await_version(&b, &build(number), COMPILED_S);
    }
    // Each begins when the other server has just compared, and so does not ask for two seconds.
    let times: Vec<_> = (0..6)
        .map(|_| {
            let back = roll_back(&a)["sha256"].as_str().expect("a hash").to_owned();
            time_until(&b, &back, SHARED_S)
        })
        .collect();
    println!("{times:?}");
    assert!(times[1..].iter().any(|it| *it < POLL / 2), "it only asked by itself: {times:?}");
}

#[test]
fn an_upload_is_ready_at_the_other_servers_soon_after_it_is_at_the_first() {
    let postgres = Postgres::start();
    let (a, b) = two(&postgres);
    let times: Vec<_> = (1..=5)
        .map(|number| {
            let version = build(number);
            upload(&a, &version);
            await_version(&a, &version, COMPILED_S);
            time_until(&b, &version.sha256(), COMPILED_S)
        })
        .collect();
    println!("{times:?}");
    let told = times[1..].iter().any(|it| *it < POLL * 3 / 4);
    assert!(told, "it only asked by itself, or is slow: {times:?}");
}
