//! Runs one test in its own network namespace. There, the test can start a name server and set its
//! answers.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

const INSIDE_VARIABLE: &str = "JACKFIELD_TEST_INSIDE";
/// Sets up the network, makes the test's name server the only one, and executes the test.
const SET_UP_NETWORK: &str = r#"
ip link set lo up
for address in $ADDRESSES; do ip address add "$address/32" dev lo; done
mount --bind "$FOLDER/resolv.conf" /etc/resolv.conf
mount --bind "$FOLDER/nsswitch.conf" /etc/nsswitch.conf
exec "$@"
"#;

/// Runs the test with this full name again, in a process in a new network namespace, whose loopback
/// interface has these addresses. Returns true inside the namespace. Outside, returns false after
/// the test has passed inside.
///
/// # Panics
/// If the test fails inside, or the machine does not allow a network namespace.
#[must_use]
pub fn run_in_own_network(test: &str, addresses: &[Ipv4Addr]) -> bool {
    if std::env::var_os(INSIDE_VARIABLE).is_some() {
        return true;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in
        [("resolv.conf", "nameserver 127.0.0.1\n"), ("nsswitch.conf", "hosts: dns\n")]
    {
        std::fs::write(folder.path().join(name), text).expect("a new file");
    }
    let addresses: Vec<_> = addresses.iter().map(Ipv4Addr::to_string).collect();
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--mount", "sh", "-eu", "-c", SET_UP_NETWORK, "sh"]);
    command.arg(std::env::current_exe().expect("this test's program"));
    command.args(["--exact", test, "--nocapture"]);
    command.env(INSIDE_VARIABLE, "1").env("FOLDER", folder.path());
    command.env("ADDRESSES", addresses.join(" "));
    let output = command.output().expect("unshare runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    let signal = output.status.signal();
    assert!(output.status.success(), "the test failed in its own network ({signal:?}), see above");
    assert!(printed.contains("1 passed"), "no test has this name: {printed}");
    false
}

/// The name server of the test's namespace. It answers each query of type A, for any name, with the
/// addresses that the test has set.
pub struct NameServer(Arc<Mutex<Vec<Ipv4Addr>>>);

impl NameServer {
    /// Starts a name server on port 53.
    #[must_use]
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").expect("the port of name servers");
        let addresses = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&addresses);
        std::thread::spawn(move || {
            let mut bytes = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                let addresses = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(answer) = dns_answer(&bytes[..length], &addresses) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self(addresses)
    }

    /// Sets the addresses with which the server answers the next queries.
    pub fn set_addresses(&self, addresses: &[Ipv4Addr]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses.to_vec();
    }
}

/// Builds a DNS answer (RFC 1035, section 4) to a query with one question. The tests use no DNS
/// library, because it would enable other features of the host's dependencies, and cargo would
/// build these dependencies a second time.
fn dns_answer(query: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    const DNS_HEADER_BYTES: usize = 12;
    let id = query.get(..2)?;
    let name_length = query.get(DNS_HEADER_BYTES..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(DNS_HEADER_BYTES..DNS_HEADER_BYTES + name_length + 5)?;
    // The question ends with its type and its class. Only a question of type A and class IN gets
    // addresses.
    let addresses = if question.ends_with(&[0, 0, 1, 0, 1]) { addresses } else { &[] };
    let count = u8::try_from(addresses.len()).ok()?;
    // A response without an error: one question, `count` answers.
    let mut answer = [id, &[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
    for address in addresses {
        // A reference to the name at byte 12, type A, class IN, TTL 0, and an address of 4 bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
