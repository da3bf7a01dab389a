//! A network of a test's own (loopback and nothing else, whatever addresses it is given) with a name server
//! that says what it is told to say.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};

/// Set for a test that runs inside.
const INSIDE: &str = "JACKFIELD_TEST_INSIDE";
/// Brings the network up, has names asked on loopback, and becomes the test.
const SETTLE_IN: &str = r#"
ip link set lo up
for address in $ADDRESSES; do ip address add "$address/32" dev lo; done
mount --bind "$FOLDER/resolv.conf" /etc/resolv.conf
mount --bind "$FOLDER/nsswitch.conf" /etc/nsswitch.conf
exec "$@"
"#;

/// Runs a test, by its whole name, once more in a network of its own, where these addresses lead to
/// loopback. Returns whether this already is inside; where it is not, the test has passed there.
///
/// # Panics
/// The test failed there, or the machine gives no network of its own.
#[must_use]
pub fn own_network(test: &str, addresses: &[Ipv4Addr]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
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
    command.args(["--net", "--mount", "sh", "-eu", "-c", SETTLE_IN, "sh"]);
    command.arg(std::env::current_exe().expect("this test's program"));
    command.args(["--exact", test, "--nocapture"]);
    command.env(INSIDE, "1").env("FOLDER", folder.path()).env("ADDRESSES", addresses.join(" "));
    let done = command.output().expect("unshare runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    println!("{said}{}", String::from_utf8_lossy(&done.stderr));
    let signal = done.status.signal();
    assert!(done.status.success(), "it failed in its own network ({signal:?}), see above");
    assert!(said.contains("1 passed"), "the test was not found: {said}");
    false
}

/// The name server of the own network: every name leads to the same addresses.
pub struct Names(Arc<Mutex<Vec<Ipv4Addr>>>);

impl Names {
    /// Listens on port 53.
    ///
    /// # Panics
    /// Outside of a network of its own, where that port is not to be had.
    #[must_use]
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").expect("the port of name servers");
        let said = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut bytes = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                let said = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(answer) = answer(&bytes[..length], &said) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self(said)
    }

    /// From now on names lead there.
    pub fn say(&self, addresses: &[Ipv4Addr]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses.to_vec();
    }
}

fn answer(question: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.metadata.response_code = ResponseCode::NoError;
    for query in question.queries {
        if query.query_type == RecordType::A {
            for address in addresses {
                let record = RData::A(A::from(*address));
                answer.add_answer(Record::from_rdata(query.name.clone(), 0, record));
            }
        }
        answer.add_query(query);
    }
    answer.to_vec().ok()
}
