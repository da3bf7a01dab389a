//! Network namespaces for the servers of a test. Links that the test can cut join each of them to
//! the namespace of the test.
//!
//! For a test inside [`run_in_own_network`](crate::run_in_own_network): nothing is left of its
//! network when its process ends. Never changes the network of the machine.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::repository::run;

/// A script that holds a new namespace until its pipe closes, in whatever way the test ends.
const HOLD: &str = "ip link set lo up; echo ready; read _ || true";
/// A script that makes one link: its two ends, with an address each.
const LINK: &str = r#"
ip link add "$OUTSIDE" type veth peer name "$LINK" netns "$PROCESS"
ip address add "$NEAR/30" dev "$OUTSIDE"
ip link set "$OUTSIDE" up
nsenter --net="/proc/$PROCESS/ns/net" -- sh -eu -c '
    ip address add "$FAR/30" dev "$LINK"
    ip link set "$LINK" up
    for address in $BEHIND; do ip route add "$address/32" via "$NEAR"; done
'
"#;

/// One link between the test's namespace and another.
struct Link {
    name: &'static str,
    /// The name of the test's end.
    outside: String,
    /// The address in the other namespace.
    far: Ipv4Addr,
}

/// A network namespace with its own loopback and some links. Dropping it ends it.
pub struct Namespace {
    holder: Child,
    pipe: Option<ChildStdin>,
    links: Vec<Link>,
}

impl Namespace {
    /// Makes a namespace, whose number is unique in the test. Each link has a name of at most 8
    /// characters, and leads to these addresses of the test's namespace.
    ///
    /// # Panics
    /// If the test does not run in its own network, or iproute2 is not installed.
    #[must_use]
    pub fn new(number: u8, links: &[(&'static str, &[Ipv4Addr])]) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-eu", "-c", HOLD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let pipe = holder.stdin.take();
        let mut line = String::new();
        let printed = holder.stdout.take().expect("a pipe");
        BufReader::new(printed).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "the machine does not allow a network namespace");
        let mut made = Self { holder, pipe, links: Vec::new() };
        for (index, (name, behind)) in (0..).zip(links) {
            made.link(number, index, name, behind);
        }
        made
    }

    fn link(&mut self, number: u8, index: u8, name: &'static str, behind: &[Ipv4Addr]) {
        let address = |last| Ipv4Addr::new(10, 78, number, 4 * index + last);
        let (near, far, outside) = (address(1), address(2), format!("n{number}-{name}"));
        let behind: Vec<_> = behind.iter().map(Ipv4Addr::to_string).collect();
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", LINK]);
        command.env("OUTSIDE", &outside).env("LINK", name).env("BEHIND", behind.join(" "));
        command.env("NEAR", near.to_string()).env("FAR", far.to_string());
        run(command.env("PROCESS", self.holder.id().to_string()));
        self.links.push(Link { name, outside, far });
    }

    /// Returns the command line that executes the arguments that follow it in this namespace.
    #[must_use]
    pub fn command_prefix(&self) -> [String; 3] {
        let path = format!("--net=/proc/{}/ns/net", self.holder.id());
        ["nsenter".to_owned(), path, "--".to_owned()]
    }

    /// Returns the address of the namespace's end of a link.
    ///
    /// # Panics
    /// If there is no such link.
    #[must_use]
    pub fn address(&self, link: &str) -> Ipv4Addr {
        self.link_named(link).far
    }

    /// Cuts a link: what either end sends is lost, and neither end is told.
    ///
    /// # Panics
    /// If there is no such link.
    pub fn cut(&self, link: &str) {
        self.set(link, "down");
    }

    /// Restores a link that was cut.
    ///
    /// # Panics
    /// If there is no such link.
    pub fn restore(&self, link: &str) {
        self.set(link, "up");
    }

    fn set(&self, link: &str, state: &str) {
        let outside = &self.link_named(link).outside;
        run(Command::new("ip").args(["link", "set", outside, state]));
    }

    fn link_named(&self, name: &str) -> &Link {
        let mut links = self.links.iter();
        links.find(|link| link.name == name).unwrap_or_else(|| panic!("no link {name}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.holder.wait();
    }
}
