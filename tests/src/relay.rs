//! A TCP relay in front of a server on loopback. Hooks get the bytes of each connection before they
//! are passed on, and may hold them back. Never changes them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

/// Gets the bytes of one direction of a connection, and no bytes at its end.
pub type BytesHook = Box<dyn FnMut(&[u8]) + Send>;

/// The hooks of one connection.
pub struct ConnectionHooks {
    /// Gets what the client sends.
    pub from_client: BytesHook,
    /// Gets what the server sends.
    pub from_server: BytesHook,
}

/// Starts a relay to this port of loopback, which runs until the process ends. `accept` makes the
/// hooks of each connection before the relay connects to the server. Returns the relay's port.
///
/// # Panics
/// If no port is free.
#[must_use]
pub fn start_relay(port: u16, mut accept: impl FnMut() -> ConnectionHooks + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let own = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let hooks = accept();
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else {
                continue;
            };
            thread::spawn(move || relay(client, server, hooks.from_client));
            thread::spawn(move || relay(server_too, client_too, hooks.from_server));
        }
    });
    own
}

/// Passes bytes on until one side ends; then ends the other.
fn relay(mut from: TcpStream, mut to: TcpStream, mut hook: BytesHook) {
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
