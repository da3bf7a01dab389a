//! People without a token, or with a single webhook token, try to exhaust file descriptors, client
//! connections, the rate of a connection or the disk. The clicks of other people must still be
//! answered.

use std::net::SocketAddr;

use jackfield_tests::{Guest, Setup, TestHost, failed_test, wait_for, with_database};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};

/// Opens idle client connections, 50 from each of several loopback addresses.
async fn open_idle_connections(server: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for number in 0..count {
        let socket = TcpSocket::new_v4().expect("a socket");
        let last_byte = u8::try_from(number / 50 + 2).expect("a few addresses");
        socket.bind(SocketAddr::from(([127, 0, 0, last_byte], 0))).expect("a loopback address");
        open.push(socket.connect(server).await.expect("a TCP connection"));
    }
    open
}

#[test]
fn idle_connections_of_strangers_block_neither_clicks_nor_logins_nor_reloads() {
    let few_files = "ulimit -n 256; exec \"$0\" \"$@\"";
    let (host, connection) =
        Setup::new().run_under(&["sh", "-c", few_files]).start_with_guest("instant", json!({}));
    let address = host.url().trim_start_matches("http://").parse().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let open = runtime.block_on(open_idle_connections(address, 600));
    host.create(&connection, &failed_test()).assert_status(200);
    host.admin().get("/connections").assert_status(200);
    host.replace("instant", &Guest::named("instant").with_build(1));
    host.create(&connection, &failed_test()).assert_status(200);
    assert!(host.open_files() < 200, "{} files are open", host.open_files());
    drop(open);
}

#[test]
fn requests_over_the_rate_are_refused_and_clicks_have_a_rate_of_their_own() {
    let host = Setup::new()
        .env("JACKFIELD_WEBHOOK_REQUESTS_PER_S", "1")
        .env("JACKFIELD_WEBHOOK_REQUESTS_BURST", "5")
        .guests(["instant"])
        .start();
    let flooded = host.add_connection("flooded", "instant", json!({}), json!({}));
    let other = host.add_connection("other", "instant", json!({}), json!({}));
    let probe = || host.anonymous().get(&flooded.webhook_path);
    let answers: Vec<_> = (0..30).map(|_| probe()).collect();
    assert!(answers[..5].iter().all(|answer| answer.status == 200), "{answers:?}");
    let refused = answers.iter().find(|answer| answer.status == 429).expect("a refusal");
    refused.assert_problem(429, "rate-limited");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(host.event_of(refused)["outcome"], "rate-limited");
    host.create(&flooded, &failed_test()).assert_status(200);
    let clicks: Vec<_> = (0..30).map(|_| host.create(&flooded, &failed_test()).status).collect();
    assert!(clicks.contains(&429), "{clicks:?}");
    host.create(&other, &failed_test()).assert_status(200);
}

#[test]
fn many_long_requests_use_little_disk_space() {
    let (host, connection) = Setup::new().start_with_guest("instant", json!({}));
    let stored_bytes = || {
        let size = |name| std::fs::metadata(host.data(name)).map_or(0, |file| file.len());
        size("jackfield.db") + size("jackfield.db-wal")
    };
    let bytes_before = stored_bytes();
    let long = "p".repeat(50_000);
    let body = vec![0; 60_000];
    let client = host.anonymous();
    for _ in 0..300 {
        let unknown = format!("/hooks/unknown/{long}");
        client.send("GET", &unknown, &[], b"").assert_problem(404, "not-found");
        let unrecognised = format!("{}/{long}", connection.webhook_path);
        client.send("PUT", &unrecognised, &[], &body).assert_problem(404, "not-found");
    }
    // Events are stored in order. When this event can be read, all earlier events are stored.
    let _ = host.event_of(&host.create(&connection, &failed_test()));
    let bytes_added = stored_bytes() - bytes_before;
    assert!(bytes_added < 4 << 20, "of 60 MB that were sent, {bytes_added} bytes were stored");
}

#[test]
fn events_are_deleted_by_total_size_and_by_age() {
    let (mut host, connection) = Setup::new()
        .config("events_bytes_max = 1048576\nevents_days = 5\nsweep_ms = 200")
        .start_with_guest("log-flood", json!({}));
    let events: Vec<_> =
        (0..40).map(|_| host.create(&connection, &failed_test()).event()).collect();
    let _ = host.event(&events[39]);
    let is_deleted =
        |host: &TestHost, id: &str| host.admin().get(&format!("/events/{id}")).status == 404;
    wait_for("the oldest event to be deleted because of the total size", 20, || {
        is_deleted(&host, &events[0]).then_some(())
    });
    assert!(!is_deleted(&host, &events[39]), "the newest event was deleted");
    host.kill();
    with_database(&host.data_folder(), |database| {
        // `events[38]` becomes two days old, but must be kept. Without a kept event that is at
        // least a day old, the server assumes that the clock stepped, and deletes nothing by age.
        let days = "UPDATE events SET received_at = received_at - 86400000 *
             CASE WHEN id = unhex(?, '-') THEN 6
                 WHEN id = unhex(?, '-') THEN 2 ELSE 0 END";
        database.execute(days, [&events[39], &events[38]])
    });
    host.restart();
    wait_for("the event to be deleted because of its age", 20, || {
        is_deleted(&host, &events[39]).then_some(())
    });
    assert!(!is_deleted(&host, &events[38]), "an event that is only two days old was deleted");
}
