//! Tests when, and in which order, the addresses of a name are tried.

use tokio::net::{TcpListener, TcpSocket};

use super::*;

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Returns a loopback address that does not answer, because its queue of connections is full.
/// It is silent only while the second value is kept, because dropping it closes the sockets.
async fn silent_address() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    (address, (listener, queued))
}

#[test]
fn address_families_alternate_after_the_address_that_accepted_the_last_connection() {
    let all =
        ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "192.0.2.1:1", "192.0.2.2:1"];
    let all = addresses(&all);
    let expected =
        ["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "192.0.2.2:1", "[2001:db8::3]:1"];
    assert_eq!(order_addresses(&all, None), addresses(&expected));
    let expected =
        ["192.0.2.2:1", "[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "[2001:db8::3]:1"];
    assert_eq!(order_addresses(&all, Some("192.0.2.2".parse().unwrap())), addresses(&expected));
    assert_eq!(order_addresses(&all[3..], Some("192.0.2.9".parse().unwrap())), all[3..]);
}

#[tokio::test]
async fn silent_addresses_delay_only_the_first_connection() {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let accepting = listener.local_addr().unwrap();
    let (silent, _queue) = silent_address().await;
    let until = Instant::now() + Duration::from_secs(60);
    let origin: Origin = "http://tracker.example".parse().unwrap();
    let last_addresses = LastAddresses::default();
    let started = Instant::now();
    for _ in 0..10 {
        let stream = last_addresses
            .connect(&origin, &[silent, silent, silent, accepting], until)
            .await
            .unwrap();
        assert_eq!(stream.peer_addr().unwrap(), accepting);
    }
    // Only the first connection waits, three times [`NEXT_ATTEMPT_DELAY`]. If the accepting address
    // were not stored, each connection would wait as long.
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_next_address_is_tried_at_once_after_a_refusal_and_the_error_names_the_addresses() {
    let closed =
        addresses(&["127.0.0.1:1", "[::1]:1", "127.0.0.2:1", "127.0.0.3:1", "127.0.0.4:1"]);
    let until = Instant::now() + Duration::from_secs(60);
    let started = Instant::now();
    let origin: Origin = "http://tracker.example".parse().unwrap();
    let failed =
        LastAddresses::default().connect(&origin, &closed, until).await.unwrap_err().to_string();
    assert!(started.elapsed() < NEXT_ATTEMPT_DELAY * 4, "{:?}", started.elapsed());
    assert!(failed.contains("127.0.0.1:1: ") && failed.ends_with("; and 1 more"), "{failed}");
}

#[tokio::test]
async fn connecting_to_many_silent_addresses_ends_at_the_deadline() {
    let (silent, _queue) = silent_address().await;
    let until = Instant::now() + Duration::from_secs(1);
    let origin: Origin = "http://tracker.example".parse().unwrap();
    let failed = LastAddresses::default().connect(&origin, &[silent; 12], until).await.unwrap_err();
    assert_eq!(failed.0.len(), 12);
    assert!(Instant::now() < until + Duration::from_secs(5));
}
