//! A TCP relay that a test can cut. Then it passes nothing on, and closes nothing, like a network
//! that loses every packet.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// A relay to a server. Dropping it cuts it.
pub struct Cable {
    address: SocketAddr,
    is_cut: Arc<(Mutex<bool>, Condvar)>,
}

impl Cable {
    /// Starts a relay to this port of loopback.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let is_cut = Arc::<(Mutex<bool>, Condvar)>::default();
        let cut = Arc::clone(&is_cut);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                await_mended(&cut);
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone(), to.try_clone());
                    let cut = Arc::clone(&cut);
                    thread::spawn(move || relay(from.ok()?, to.ok()?, &cut));
                }
            }
        });
        Self { address, is_cut }
    }

    /// Returns the port of the relay.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on, passes nothing on.
    pub fn cut(&self) {
        self.set(true);
    }

    /// Passes on what was held back, and what follows.
    pub fn mend(&self) {
        self.set(false);
    }

    fn set(&self, cut: bool) {
        let (lock, changed) = &*self.is_cut;
        *lock.lock().unwrap_or_else(PoisonError::into_inner) = cut;
        changed.notify_all();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
    }
}

fn await_mended(is_cut: &(Mutex<bool>, Condvar)) {
    let (lock, changed) = is_cut;
    let state = lock.lock().unwrap_or_else(PoisonError::into_inner);
    drop(changed.wait_while(state, |cut| *cut));
}

/// Passes bytes on until one side ends; then ends the other.
fn relay(mut from: TcpStream, mut to: TcpStream, cut: &(Mutex<bool>, Condvar)) -> Option<()> {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 16_384];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        await_mended(cut);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    await_mended(cut);
    let _ = (to.shutdown(std::net::Shutdown::Both), from.shutdown(std::net::Shutdown::Both));
    Some(())
}
