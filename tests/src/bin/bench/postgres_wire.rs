//! A relay to PostgreSQL that counts what clients ask for. The messages are those of PostgreSQL's
//! documentation, chapter "Message Formats": after the first, each has a type and its length.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jackfield_tests::{ConnectionHooks, start_relay};

/// A relay, until the process ends.
pub(crate) struct CountingRelay {
    port: u16,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    statements: AtomicU64,
    round_trips: AtomicU64,
}

/// What all clients have sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) statements: u64,
    /// How often a client has waited for an answer.
    pub(crate) round_trips: u64,
}

impl CountingRelay {
    /// Starts a relay to this port of loopback.
    pub(crate) fn to(port: u16) -> Self {
        let counters = Arc::<Counters>::default();
        let counting = Arc::clone(&counters);
        let port = start_relay(port, move || {
            let mut messages = Messages { counters: Arc::clone(&counting), ..Messages::default() };
            ConnectionHooks {
                from_client: Box::new(move |bytes| messages.read(bytes)),
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

/// The version of a request for TLS or another encryption: 1234.
const NOT_A_START: [u8; 2] = 1234_u16.to_be_bytes();

/// The messages of one client.
#[derive(Default)]
struct Messages {
    counters: Arc<Counters>,
    /// Whether the start of the session was read. It has no type, and neither has a request for TLS
    /// before it.
    begun: bool,
    /// The head of a message that is not complete.
    head: Vec<u8>,
    /// The bytes that are left of the body of a message.
    body: usize,
}

impl Messages {
    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.body > 0 {
                let skipped = self.body.min(bytes.len());
                self.body -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            self.body = match (self.begun, &self.head[..]) {
                (true, &[kind, a, b, c, d]) => {
                    self.count(kind);
                    body_length([a, b, c, d], 4)
                }
                (false, &[a, b, c, d, version, minor, _, _]) => {
                    self.begun = [version, minor] != NOT_A_START;
                    body_length([a, b, c, d], 8)
                }
                _ => continue,
            };
            self.head.clear();
        }
    }

    /// Counts a message by its type: Execute and Query run a statement, Sync and Query ask for an
    /// answer.
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

/// The length of a body: the length of a message counts itself, and what else is in its head.
fn body_length(length: [u8; 4], counted: usize) -> usize {
    (u32::from_be_bytes(length) as usize).checked_sub(counted).expect("a message of PostgreSQL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_and_round_trips_are_counted_wherever_the_bytes_are_divided() {
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
            let mut messages = Messages::default();
            bytes.chunks(size).for_each(|bytes| messages.read(bytes));
            let counters = Arc::clone(&messages.counters);
            let counted = CountingRelay { port: 0, counters }.counts();
            assert_eq!(counted, Counts { statements: 3, round_trips: 2 }, "pieces of {size}");
        }
    }
}
