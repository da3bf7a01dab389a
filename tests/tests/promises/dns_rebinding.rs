//! A host name whose addresses change. Each time the server resolves a name, it checks every
//! address of the name. So a granted name never leads to a forbidden address.

use std::net::{Ipv4Addr, SocketAddr};

use jackfield_tests::{
    Exchange, NameServer, Reply, ScriptedServer, Setup, failed_test, run_in_own_network,
};
use serde_json::{Value, json};

use crate::calls::INTERFACES;

/// An address that stands for all public addresses. In the test's own network, this address belongs
/// to this machine.
const PUBLIC_ADDRESS: Ipv4Addr = Ipv4Addr::new(5, 5, 5, 5);
/// Addresses that a granted name must not lead to if the connection does not have `allow_private`.
const FORBIDDEN_ADDRESSES: [Ipv4Addr; 4] = [
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::new(10, 5, 5, 5),
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(192, 168, 5, 5),
];

/// Closes the TCP connection, so that the server resolves the name again for the next request.
fn answer_and_close(_: &Exchange<'_>) -> Reply {
    Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nreached".to_vec())
}

#[test]
fn a_name_that_changes_its_address_reaches_only_allowed_addresses() {
    let name = "dns_rebinding::a_name_that_changes_its_address_reaches_only_allowed_addresses";
    if !run_in_own_network(name, &[&[PUBLIC_ADDRESS], &FORBIDDEN_ADDRESSES[1..]].concat()) {
        return;
    }
    let names = NameServer::start();
    let host = Setup::new().guests(["calls"]).start();
    let granted = ScriptedServer::start_at(SocketAddr::from((PUBLIC_ADDRESS, 0)), answer_and_close);
    let port = granted.address().port();
    let forbidden = FORBIDDEN_ADDRESSES.map(|address| {
        ScriptedServer::start_at(SocketAddr::from((address, port)), answer_and_close)
    });
    for via in INTERFACES {
        let url = format!("http://tracker.test:{port}");
        let settings = json!({"url": url, "target": format!("{url}/x"), "via": via});
        let connection = host.add_connection(via, "calls", settings, json!({}));
        let call = |addresses: &[Ipv4Addr]| -> Value {
            names.set_addresses(addresses);
            host.create(&connection, &failed_test()).expect(200)
        };
        for address in FORBIDDEN_ADDRESSES {
            assert_eq!(call(&[PUBLIC_ADDRESS])["id"], "200", "{via}");
            for addresses in
                [&[address][..], &[PUBLIC_ADDRESS, address], &[address, PUBLIC_ADDRESS]]
            {
                let received = call(addresses);
                assert_eq!(received["id"], "denied", "{via} {addresses:?}: {received}");
            }
        }
    }
    assert_eq!(granted.requests().len(), 2 * FORBIDDEN_ADDRESSES.len());
    for server in forbidden {
        assert_eq!(server.tcp_connections(), 0, "{}", server.address());
    }
}

/// The address that Debian assigns to the machine's own name.
const ADDRESS_OF_OWN_NAME: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

#[test]
fn a_name_of_this_machine_is_reached_only_with_allow_private() {
    let name = "dns_rebinding::a_name_of_this_machine_is_reached_only_with_allow_private";
    if !run_in_own_network(name, &[]) {
        return;
    }
    let names = NameServer::start();
    names.set_addresses(&[ADDRESS_OF_OWN_NAME]);
    let host = Setup::new().guests(["calls"]).start();
    let tracker =
        ScriptedServer::start_at(SocketAddr::from((ADDRESS_OF_OWN_NAME, 0)), answer_and_close);
    let url = format!("http://tracker.test:{}", tracker.address().port());
    for via in INTERFACES {
        let settings = json!({"url": url, "target": format!("{url}/x"), "via": via});
        let connection = host.add_connection(via, "calls", settings, json!({}));
        let received = host.create(&connection, &failed_test()).expect(200);
        assert_eq!(received["id"], "denied", "{via}: {received}");
        let (_, printed) = host.run_cli(&["connections", "try", via, "--json"]);
        assert!(printed.contains("--allow-private true"), "{printed}");
        let (succeeded, printed) =
            host.run_cli(&["connections", "edit", via, "--allow-private", "true"]);
        assert!(succeeded, "{printed}");
        let received = host.create(&connection, &failed_test()).expect(200);
        assert_eq!(received["id"], "200", "{via}: {received}");
    }
    assert_eq!(tracker.requests().len(), INTERFACES.len());
}
