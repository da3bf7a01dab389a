//! Network namespaces for the servers of a test. Links connect each namespace with that of the
//! test, and the test can cut the links.
//!
//! The test must run inside [`run_in_own_network`](crate::run_in_own_network), so the namespaces
//! never change the network of the machine. The kernel removes them when the test's process ends.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::repository::run;

/// A script that keeps a new namespace until the script's standard input closes. That happens when
/// the test's process ends, even if the process is killed.
const KEEP_NAMESPACE: &str = "ip link set lo up; echo ready; read _ || true";
/// A script that creates a link. `OUTSIDE` and `NEAR` are the name and the address of its end in
/// the test's namespace, `LINK` and `FAR` those of its other end, which is in the namespace of the
/// process `PROCESS`. `BEHIND` contains further addresses of the test's namespace, which the other
/// namespace reaches through the link.
const CREATE_LINK: &str = r#"
ip link add "$OUTSIDE" type veth peer name "$LINK" netns "$PROCESS"
ip address add "$NEAR/30" dev "$OUTSIDE"
ip link set "$OUTSIDE" up
nsenter --net="/proc/$PROCESS/ns/net" -- sh -eu -c '
    ip address add "$FAR/30" dev "$LINK"
    ip link set "$LINK" up
    for address in $BEHIND; do ip route add "$address/32" via "$NEAR"; done
'
"#;

/// A link between the test's namespace and another namespace.
struct Link {
    name: &'static str,
    test_interface: String,
    /// The address of the link's end in the other namespace.
    far_address: Ipv4Addr,
}

/// A network namespace with its own loopback and some links. Dropping this value removes the
/// namespace.
pub struct Namespace {
    /// The process that keeps the namespace until its standard input closes.
    keeper: Child,
    keeper_input: Option<ChildStdin>,
    links: Vec<Link>,
}

impl Namespace {
    /// Creates a namespace. `number` must be unique in the test. `links` contains, for each link,
    /// a name of at most 8 characters and some addresses of the test's namespace. The new namespace
    /// reaches these addresses through the link.
    #[must_use]
    pub fn new(number: u8, links: &[(&'static str, &[Ipv4Addr])]) -> Self {
        let mut keeper = Command::new("unshare")
            .args(["--net", "sh", "-eu", "-c", KEEP_NAMESPACE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let keeper_input = keeper.stdin.take();
        let mut line = String::new();
        let printed = keeper.stdout.take().expect("a pipe");
        BufReader::new(printed).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "the machine does not allow a network namespace");
        let mut namespace = Self { keeper, keeper_input, links: Vec::new() };
        for (index, (name, routed_addresses)) in (0..).zip(links) {
            namespace.add_link(number, index, name, routed_addresses);
        }
        namespace
    }

    fn add_link(
        &mut self,
        number: u8,
        index: u8,
        name: &'static str,
        routed_addresses: &[Ipv4Addr],
    ) {
        let address = |last| Ipv4Addr::new(10, 78, number, 4 * index + last);
        let (near_address, far_address) = (address(1), address(2));
        let test_interface = format!("n{number}-{name}");
        let routed_addresses: Vec<_> = routed_addresses.iter().map(Ipv4Addr::to_string).collect();
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", CREATE_LINK]);
        command.env("OUTSIDE", &test_interface).env("LINK", name);
        command.env("BEHIND", routed_addresses.join(" "));
        command.env("NEAR", near_address.to_string()).env("FAR", far_address.to_string());
        run(command.env("PROCESS", self.keeper.id().to_string()));
        self.links.push(Link { name, test_interface, far_address });
    }

    /// Returns the first words of a command line. The command executes the words that follow in
    /// this namespace.
    #[must_use]
    pub fn command_prefix(&self) -> [String; 3] {
        let path = format!("--net=/proc/{}/ns/net", self.keeper.id());
        ["nsenter".to_owned(), path, "--".to_owned()]
    }

    /// Returns the address that this namespace has on a link.
    #[must_use]
    pub fn address(&self, link: &str) -> Ipv4Addr {
        self.link_named(link).far_address
    }

    /// Cuts a link. All packets are lost, and TCP connections through the link are not closed.
    pub fn cut(&self, link: &str) {
        self.set_link_state(link, "down");
    }

    /// Restores a link that was cut.
    pub fn restore(&self, link: &str) {
        self.set_link_state(link, "up");
    }

    fn set_link_state(&self, link: &str, state: &str) {
        let interface = &self.link_named(link).test_interface;
        run(Command::new("ip").args(["link", "set", interface, state]));
    }

    fn link_named(&self, name: &str) -> &Link {
        let mut links = self.links.iter();
        links.find(|link| link.name == name).unwrap_or_else(|| panic!("no link {name}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.keeper_input.take());
        let _ = self.keeper.wait();
    }
}
