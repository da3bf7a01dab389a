//! What people without a token, or with one webhook token, can occupy: file descriptors, client
//! connections, a connection's rate, the disk. None of it costs a click of somebody else.

use std::net::SocketAddr;

use jackfield_tests::{Guest, Setup, failed_test};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};

/// Opens idle connections, 50 from each of several loopback addresses.
async fn idle_connections(server: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for number in 0..count {
        let socket = TcpSocket::new_v4().expect("a socket");
        let last = u8::try_from(number / 50 + 2).expect("a few addresses");
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).expect("a loopback address");
        open.push(socket.connect(server).await.expect("a connection"));
    }
    open
}

#[test]
fn idle_connections_of_strangers_stop_neither_clicks_nor_logins_nor_reloads() {
    let few = "ulimit -n 256; exec \"$0\" \"$@\"";
    let (host, connection) =
        Setup::new().run_under(&["sh", "-c", few]).start_with("instant", json!({}));
    let address = host.url().trim_start_matches("http://").parse().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let open = runtime.block_on(idle_connections(address, 600));
    host.create(&connection, &failed_test()).assert_status(200);
    host.admin().get("/connections").assert_status(200);
    host.replace("instant", &Guest::named("instant").with_build(1));
    host.create(&connection, &failed_test()).assert_status(200);
    assert!(host.open_files() < 200, "{} files are open", host.open_files());
    drop(open);
}

#[test]
fn a_connection_over_its_rate_is_refused_and_no_click_pays_for_other_requests() {
    let host = Setup::new()
        .env("JACKFIELD_WEBHOOK_REQUESTS_PER_S", "1")
        .env("JACKFIELD_WEBHOOK_REQUESTS_BURST", "5")
        .guests(["instant"])
        .start();
    let flooded = host.connect("flooded", "instant", json!({}), json!({}));
    let other = host.connect("other", "instant", json!({}), json!({}));
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
