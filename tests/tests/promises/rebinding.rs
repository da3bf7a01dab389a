//! A name that leads elsewhere from one moment to the next is judged each time that it is asked for.

use std::net::{Ipv4Addr, SocketAddr};

use jackfield_tests::{Exchange, Guest, Names, Peer, Reply, Setup, failed_test, own_network};
use serde_json::{Value, json};

/// Addresses of the own network, all of them on loopback. The first stands for any public one.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(5, 5, 5, 5);
const FORBIDDEN: [Ipv4Addr; 4] = [
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::new(10, 5, 5, 5),
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(192, 168, 5, 5),
];

/// An answer after which the next request needs a new connection, and so a new look at the name.
fn once(_: &Exchange<'_>) -> Reply {
    Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nreached".to_vec())
}

#[test]
fn a_name_that_changes_its_mind_leads_nowhere_else() {
    let name = "rebinding::a_name_that_changes_its_mind_leads_nowhere_else";
    if !own_network(name, &[&[PUBLIC], &FORBIDDEN[1..]].concat()) {
        return;
    }
    let names = Names::start();
    let host = Setup::new().plugin("calls", &Guest::named("calls")).start();
    let granted = Peer::at(SocketAddr::from((PUBLIC, 0)), once);
    let port = granted.address().port();
    let inside = FORBIDDEN.map(|address| Peer::at(SocketAddr::from((address, port)), once));
    for via in ["http", "wasi:http"] {
        let url = format!("http://tracker.test:{port}");
        let settings = json!({"url": url, "target": format!("{url}/x"), "via": via});
        let connection = host.connect(via, "calls", settings, json!({}));
        let seen = |addresses: &[Ipv4Addr]| -> Value {
            names.say(addresses);
            host.create(&connection, &failed_test()).expect(200)
        };
        for address in FORBIDDEN {
            assert_eq!(seen(&[PUBLIC])["id"], "200", "{via}");
            for led in [&[address][..], &[PUBLIC, address], &[address, PUBLIC]] {
                let seen = seen(led);
                assert_eq!(seen["id"], "denied", "{via} {led:?}: {seen}");
            }
        }
    }
    assert_eq!(granted.requests().len(), 2 * FORBIDDEN.len());
    for peer in inside {
        assert_eq!(peer.connections(), 0, "{}", peer.address());
    }
}
