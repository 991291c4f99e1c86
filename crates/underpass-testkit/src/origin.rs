//! An HTTP origin in the test's process: objects by name, counters, and whatever may go wrong.
//!
//! Conditions and ranges are right unless a [`Fault`] says otherwise, so that a cache in front of
//! it can be wrong by itself. Every object that is put has its own content, no byte of which is
//! zero: a body tells which generation each byte is of, and bytes of a hole stand out.

mod answer;
#[cfg(feature = "cases")]
pub mod cases;
mod connection;
mod fault;
mod object;
mod rate;
mod request;
mod state;
#[cfg(test)]
mod tests;
mod wire;

use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use self::answer::Part;
pub use self::fault::{Fault, Stop};
pub use self::object::{Framing, GRAIN, Object};
pub use self::request::Request;

use self::rate::Rate;
use self::state::Shared;
use self::wire::Shake;
use crate::server::free_address;
use crate::wait;

/// How long an address may take to be free again.
const PATIENCE: Duration = Duration::from_secs(10);

/// The origin. Its connections end with it.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    shake: Shake,
    shared: Arc<Shared>,
    /// The thread that accepts, while there is one.
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Origin {
    /// An origin without objects.
    ///
    /// # Errors
    ///
    /// Those of bind(2).
    pub fn start() -> io::Result<Self> {
        Self::with(Shake::Plain)
    }

    /// The same over TLS 1.3, or 1.2, with this certificate.
    ///
    /// # Errors
    ///
    /// Those of bind(2), and of making the configuration.
    #[cfg(feature = "tls")]
    pub fn start_tls(
        identity: &crate::tls::Identity,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> io::Result<Self> {
        Self::with(Shake::Secured(identity.server((version, ""))?))
    }

    fn with(shake: Shake) -> io::Result<Self> {
        // Not one for port 0, which another could be given while this one is down.
        let address = free_address()?;
        let shared = Arc::new(Shared::new());
        let origin = Self { address, shake, shared, accepting: Mutex::new(None) };
        origin.accept()?;
        Ok(origin)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a target, which begins with a slash.
    #[must_use]
    pub fn url(&self, target: &str) -> String {
        format!("{}://{}{target}", self.shake.scheme(), self.address)
    }

    /// Puts an object under a target, in the place of what was there; answers that are under way
    /// continue with that. A target without a query stands for all queries that have no own object.
    pub fn put(&self, target: &str, object: Object) -> Arc<Object> {
        self.shared.state().put(target, object)
    }

    /// Takes away what is under a target.
    pub fn remove(&self, target: &str) {
        self.shared.state().remove(target);
    }

    /// Limits what all connections together send, in grains of [`GRAIN`].
    pub fn limit(&self, bytes_per_s: Option<u64>) {
        self.shared.change(|state| state.rate = Rate::of(bytes_per_s));
    }

    /// Lets each answer wait before its head.
    pub fn delay(&self, latency: Duration) {
        self.shared.change(|state| state.latency = latency);
    }

    /// Does this to the answer to the request of this number; several add up.
    pub fn fault(&self, number: usize, fault: Fault) {
        self.shared.change(|state| state.faults.entry(number).or_default().push(fault));
    }

    /// Lets a function say what goes wrong with each answer, as well as what [`Self::fault`] says.
    pub fn script(&self, script: impl Fn(&Request) -> Vec<Fault> + Send + Sync + 'static) {
        self.shared.change(|state| state.script = Some(Arc::new(script)));
    }

    /// Lets everything be right from the next request on, and all answers that stall continue.
    pub fn heal(&self) {
        self.shared.change(|state| {
            state.faults.clear();
            state.script = None;
        });
        self.release();
    }

    /// Every object that there has been, with the target it was put or asked for under: what an
    /// answer may be of.
    #[must_use]
    pub fn generations(&self) -> Vec<(String, Arc<Object>)> {
        self.shared.state().generations.clone()
    }

    /// Lets all answers that stall continue.
    pub fn release(&self) {
        self.shared.change(|state| state.releases += 1);
    }

    /// How many answers stall.
    #[must_use]
    pub fn stalled(&self) -> usize {
        self.shared.state().stalled
    }

    /// Its requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// How many there were, which is the number of the next.
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.shared.state().requests.len()
    }

    /// How many bytes of content it has sent; those of heads and chunks do not count.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.shared.state().content_bytes
    }

    /// Ends every connection and accepts no other: connect(2) is refused.
    pub fn down(&self) {
        self.shared.change(|state| {
            state.is_down = true;
            state.cut_all();
        });
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(accepting) = accepting {
            // It may have been woken by another connection, and then there is no listener.
            drop(TcpStream::connect(self.address));
            accepting.join().expect("accepting does not panic");
        }
    }

    /// Accepts again, at the same address.
    ///
    /// # Errors
    ///
    /// Those of bind(2).
    pub fn up(&self) -> io::Result<()> {
        self.down();
        self.shared.change(|state| state.is_down = false);
        self.accept()
    }

    fn accept(&self) -> io::Result<()> {
        let listener = bind(self.address)?;
        let (shared, shake) = (Arc::clone(&self.shared), self.shake.clone());
        let accepting = thread::spawn(move || {
            while let Ok((tcp, _)) = listener.accept() {
                let Ok(twin) = tcp.try_clone() else { continue };
                let Some(number) = shared.state().connect(twin) else { return };
                let (shared, shake) = (Arc::clone(&shared), shake.clone());
                thread::spawn(move || {
                    let wire = shake.wire(tcp);
                    // A client that leaves is some tests' point.
                    let wire = wire.map(|wire| {
                        let mut wire = BufReader::new(wire);
                        drop(connection::serve(&shared, &mut wire, number));
                        wire
                    });
                    // Before the last descriptor is closed, which is what the client sees.
                    shared.state().disconnect(number);
                    drop(wire);
                });
            }
        });
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepting);
        Ok(())
    }
}

/// Listens there. A child that another thread has forked and that has not begun its program yet has
/// a copy of the socket that listened there before.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = wait::until(PATIENCE, || match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        bound => Some(bound),
    });
    listener.unwrap_or_else(|| Err(io::ErrorKind::AddrInUse.into()))
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.down();
    }
}
