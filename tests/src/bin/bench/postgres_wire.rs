//! A relay to PostgreSQL that counts the statements and round trips of all clients. The chapter
//! "Message Formats" of PostgreSQL's documentation describes the messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jackfield_tests::{ConnectionHooks, start_relay};

/// A relay that runs until the process ends.
pub(crate) struct CountingRelay {
    port: u16,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    statements: AtomicU64,
    round_trips: AtomicU64,
}

/// How many statements and round trips all clients together have made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WireCounts {
    pub(crate) statements: u64,
    /// How many Sync and Query messages the clients have sent. PostgreSQL answers each of them.
    pub(crate) round_trips: u64,
}

impl CountingRelay {
    pub(crate) fn start(port: u16) -> Self {
        let counters = Arc::<Counters>::default();
        let shared = Arc::clone(&counters);
        let port = start_relay(port, move || {
            let mut counter =
                MessageCounter { counters: Arc::clone(&shared), ..MessageCounter::default() };
            ConnectionHooks {
                from_client: Box::new(move |bytes| counter.read(bytes)),
                from_server: Box::new(|_| {}),
            }
        });
        Self { port, counters }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn counts(&self) -> WireCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WireCounts {
            statements: read(&self.counters.statements),
            round_trips: read(&self.counters.round_trips),
        }
    }
}

/// The major protocol version in a client's first message if the message requests encryption.
const ENCRYPTION_REQUEST: [u8; 2] = 1234_u16.to_be_bytes();

/// Counts the statements and round trips of one client, from the bytes that the client sends.
#[derive(Default)]
struct MessageCounter {
    counters: Arc<Counters>,
    /// Whether the message that starts the session was read. This message, and requests for
    /// encryption before it, have no type.
    has_started: bool,
    /// The bytes of a message's head that have been read, while the head is incomplete.
    head: Vec<u8>,
    unread_body_bytes: usize,
}

impl MessageCounter {
    /// Reads bytes of the client, which may begin and end in the middle of a message.
    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.unread_body_bytes > 0 {
                let skipped = self.unread_body_bytes.min(bytes.len());
                self.unread_body_bytes -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            self.unread_body_bytes = match (self.has_started, &self.head[..]) {
                (true, &[kind, a, b, c, d]) => {
                    self.count_message(kind);
                    body_length([a, b, c, d], 4)
                }
                (false, &[a, b, c, d, version, minor, _, _]) => {
                    self.has_started = [version, minor] != ENCRYPTION_REQUEST;
                    body_length([a, b, c, d], 8)
                }
                _ => continue,
            };
            self.head.clear();
        }
    }

    /// An Execute or Query message runs a statement. A Sync or Query message requests an answer.
    fn count_message(&self, kind: u8) {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        if matches!(kind, b'E' | b'Q') {
            add(&self.counters.statements);
        }
        if matches!(kind, b'S' | b'Q') {
            add(&self.counters.round_trips);
        }
    }
}

/// Returns the length of a message's body. The length in the message also counts `head_bytes` bytes
/// of the head.
fn body_length(length: [u8; 4], head_bytes: usize) -> usize {
    (u32::from_be_bytes(length) as usize).checked_sub(head_bytes).expect("a message of PostgreSQL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_their_bytes_are_split() {
        // The messages are a request for TLS, the start of the session, and Query. Then follow
        // Bind, Execute, Execute and Sync.
        let mut bytes = vec![0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
        bytes.extend([0, 0, 0, 9, 0, 3, 0, 0, b'Q']);
        for (kind, body) in
            [(b'Q', &b"E\0"[..]), (b'B', b"QS"), (b'E', b""), (b'E', b"S"), (b'S', b"")]
        {
            bytes.push(kind);
            bytes.extend((body.len() as u32 + 4).to_be_bytes());
            bytes.extend(body);
        }
        for size in 1..bytes.len() {
            let mut counter = MessageCounter::default();
            bytes.chunks(size).for_each(|bytes| counter.read(bytes));
            let counters = Arc::clone(&counter.counters);
            let counted = CountingRelay { port: 0, counters }.counts();
            assert_eq!(counted, WireCounts { statements: 3, round_trips: 2 }, "pieces of {size}");
        }
    }
}
