//! A relay to PostgreSQL that counts the statements and round trips of clients. The chapter
//! "Message Formats" of PostgreSQL's documentation describes the messages: each begins with its
//! type and its length, except the first one, which has no type.

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

/// The numbers for all clients together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) statements: u64,
    /// Number of times that a client has waited for an answer.
    pub(crate) round_trips: u64,
}

impl CountingRelay {
    /// Starts a relay to this port of loopback.
    pub(crate) fn to(port: u16) -> Self {
        let counters = Arc::<Counters>::default();
        let shared = Arc::clone(&counters);
        let port = start_relay(port, move || {
            let mut parser =
                MessageParser { counters: Arc::clone(&shared), ..MessageParser::default() };
            ConnectionHooks {
                from_client: Box::new(move |bytes| parser.read(bytes)),
                from_server: Box::new(|_| {}),
            }
        });
        Self { port, counters }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            statements: read(&self.counters.statements),
            round_trips: read(&self.counters.round_trips),
        }
    }
}

/// The protocol version, 1234, of a first message that does not start a session, but requests TLS
/// or another encryption.
const ENCRYPTION_REQUEST: [u8; 2] = 1234_u16.to_be_bytes();

/// Parses the messages of one client.
#[derive(Default)]
struct MessageParser {
    counters: Arc<Counters>,
    /// Whether the message that starts the session was read. This message and requests for TLS
    /// before it have no type.
    has_started: bool,
    /// The bytes of a message's incomplete head.
    head: Vec<u8>,
    /// The number of bytes of a message's body that are still to come.
    body_left: usize,
}

impl MessageParser {
    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.body_left > 0 {
                let skipped = self.body_left.min(bytes.len());
                self.body_left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            self.body_left = match (self.has_started, &self.head[..]) {
                (true, &[kind, a, b, c, d]) => {
                    self.count(kind);
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

    /// Counts a message by its type. Execute and Query run a statement. After Sync and Query, the
    /// client waits for an answer.
    fn count(&self, kind: u8) {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        if matches!(kind, b'E' | b'Q') {
            add(&self.counters.statements);
        }
        if matches!(kind, b'S' | b'Q') {
            add(&self.counters.round_trips);
        }
    }
}

/// Returns the length of a message's body. The length in the message includes `counted_head` bytes
/// of the head.
fn body_length(length: [u8; 4], counted_head: usize) -> usize {
    (u32::from_be_bytes(length) as usize)
        .checked_sub(counted_head)
        .expect("a message of PostgreSQL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_if_the_bytes_arrive_in_any_pieces() {
        // A request for TLS, a start, a query, then bind, execute, execute and sync.
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
            let mut parser = MessageParser::default();
            bytes.chunks(size).for_each(|bytes| parser.read(bytes));
            let counters = Arc::clone(&parser.counters);
            let counted = CountingRelay { port: 0, counters }.counts();
            assert_eq!(counted, Counts { statements: 3, round_trips: 2 }, "pieces of {size}");
        }
    }
}
