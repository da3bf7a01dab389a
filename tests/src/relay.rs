//! A TCP relay in front of a server on loopback. Before the relay forwards bytes, a hook of the
//! test receives them and can delay them. The relay never changes the bytes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

/// A function that receives the bytes of one direction of a TCP connection. At the end of the TCP
/// connection, the function is called with an empty slice.
pub type BytesHook = Box<dyn FnMut(&[u8]) + Send>;

/// The hooks of one client of the relay.
pub struct ConnectionHooks {
    /// Receives the bytes that the client sends.
    pub from_client: BytesHook,
    /// Receives the bytes that the server sends.
    pub from_server: BytesHook,
}

/// Starts a relay to this port of loopback. The relay runs until the process ends. For each client
/// that connects, the relay calls `make_hooks` before it connects to the server. Returns the port
/// of the relay.
#[must_use]
pub fn start_relay(
    port: u16,
    mut make_hooks: impl FnMut() -> ConnectionHooks + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let relay_port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let hooks = make_hooks();
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let (Ok(client_clone), Ok(server_clone)) = (client.try_clone(), server.try_clone())
            else {
                continue;
            };
            thread::spawn(move || forward_bytes(client, server, hooks.from_client));
            thread::spawn(move || forward_bytes(server_clone, client_clone, hooks.from_server));
        }
    });
    relay_port
}

/// Forwards bytes in one direction until one of the two TCP connections ends. Then closes both.
fn forward_bytes(mut from: TcpStream, mut to: TcpStream, mut hook: BytesHook) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        hook(bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    hook(&[]);
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
