//! A relay to PostgreSQL that counts what clients ask for. The messages are those of PostgreSQL's
//! documentation, chapter "Message Formats": after the first, each has a type and its length.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// A relay, until the process ends.
pub(crate) struct Counted {
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

impl Counted {
    /// Starts a relay to this port of loopback.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("its address").port();
        let counters = Arc::<Counters>::default();
        let counting = Arc::clone(&counters);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", port)).expect("PostgreSQL runs");
                for stream in [&client, &server] {
                    stream.set_nodelay(true).expect("an open stream");
                }
                let answers = (server.try_clone(), client.try_clone());
                let mut messages =
                    Messages { counters: Arc::clone(&counting), ..Messages::default() };
                thread::spawn(move || relay(client, server, |bytes| messages.read(bytes)));
                thread::spawn(move || {
                    relay(answers.0.ok()?, answers.1.ok()?, |_| {});
                    Some(())
                });
            }
        });
        Self { port: own, counters }
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

/// Passes bytes on until one side ends.
fn relay(mut from: TcpStream, mut to: TcpStream, mut seen: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        seen(bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// The messages of one client.
#[derive(Default)]
struct Messages {
    counters: Arc<Counters>,
    /// Whether the first message, which has no type, was read.
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
            let typed = usize::from(self.begun);
            if let [a, b, c, d] = self.head[typed.min(self.head.len())..] {
                self.body = u32::from_be_bytes([a, b, c, d]) as usize - 4;
                self.count();
                self.begun = true;
                self.head.clear();
            }
        }
    }

    /// Counts a message by its type: Execute and Query run a statement, Sync and Query ask for an
    /// answer.
    fn count(&self) {
        let kind = if self.begun { self.head[0] } else { 0 };
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        if matches!(kind, b'E' | b'Q') {
            add(&self.counters.statements);
        }
        if matches!(kind, b'S' | b'Q') {
            add(&self.counters.round_trips);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_and_round_trips_are_counted_wherever_the_bytes_are_divided() {
        // A start, a query, then bind, execute, execute and sync.
        let mut bytes = vec![0, 0, 0, 9, 0, 3, 0, 0, b'Q'];
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
            let counted = Counted { port: 0, counters }.counts();
            assert_eq!(counted, Counts { statements: 3, round_trips: 2 }, "pieces of {size}");
        }
    }
}
