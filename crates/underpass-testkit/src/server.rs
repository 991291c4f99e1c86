//! A server program as a child process: started, found, stopped.
//!
//! Ready means that it accepts connections, not that it was started. It is ended with the
//! fixture, first politely, so that a panicking test leaves no process behind.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixDatagram};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Pid, Signal};

use crate::wait;

/// How long a server may take to start or to stop before the test fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Well-known services are below.
const FIRST_FREE_PORT: u16 = 15_000;

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts a server that was told to listen at `address`, and waits until it accepts.
    ///
    /// # Errors
    ///
    /// Those of starting it; `Other` with its exit status if it ends instead, `TimedOut` if it
    /// does not accept within ten seconds.
    pub fn start(command: &mut Command, address: SocketAddr) -> io::Result<Self> {
        let mut server = Self { child: command.spawn()?, address };
        let ready = wait::until(PATIENCE, || match server.child.try_wait() {
            Ok(Some(status)) => Some(Err(io::Error::other(format!("the server ended: {status}")))),
            Ok(None) => TcpStream::connect(address).is_ok().then_some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        match ready {
            Some(Ok(())) => Ok(server),
            Some(Err(error)) => Err(error),
            None => Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing at {address}"))),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id; a server's workers may be children of it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    ///
    /// `TimedOut` if it has not within ten seconds; it is killed then.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        self.end()
    }

    /// Kills it (SIGKILL), as a crash would, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// Those of kill(2) and wait(2).
    pub fn kill(mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        match wait::until(PATIENCE, || self.child.try_wait().transpose()) {
            Some(status) => status,
            None => {
                self.child.kill()?;
                let status = self.child.wait()?;
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("still running after SIGTERM, then killed: {:?}", status.signal()),
                ))
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What went wrong with stopping it belongs to `stop`; here it only has to be gone.
        drop(self.end());
    }
}

/// A loopback address that no server has, for servers that cannot report the port they were given
/// for port 0.
///
/// It is below the ports that the kernel gives for port 0, or the next bind(2) of anybody might
/// be given the same one; and no test of this machine that asks here is told it again.
///
/// # Errors
///
/// Those of bind(2), and `AddrInUse` if no port is free.
pub fn free_address() -> io::Result<SocketAddr> {
    // A place to begin that differs between the tests of one process, and between processes.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let dynamic = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let first = dynamic.split_whitespace().next().and_then(|first| first.parse().ok());
    let ports = FIRST_FREE_PORT..first.filter(|first| *first > FIRST_FREE_PORT).unwrap_or(u16::MAX);
    let count = u32::from(ports.end - ports.start);
    for _ in 0..count {
        let next = std::process::id().wrapping_mul(61) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = ports.start + u16::try_from(next % count).expect("less than 65,536 ports");
        if let Some(address) = claim(port)? {
            return Ok(address);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// The address with `port`, if it is free and no other test was told it.
fn claim(port: u16) -> io::Result<Option<SocketAddr>> {
    // The name of a socket that lives as long as this process, in the same network namespace.
    static CLAIMED: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());
    let taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    let name = net::SocketAddr::from_abstract_name(format!("underpass-test-port-{port}"))?;
    let claimed = match UnixDatagram::bind_addr(&name) {
        Ok(claimed) => claimed,
        Err(error) if taken(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    match is_free(port) {
        Ok(()) => {}
        Err(Errno::ADDRINUSE) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    }
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).push(claimed);
    Ok(Some((Ipv4Addr::LOCALHOST, port).into()))
}

/// Binds a socket to the port, at all addresses, since some servers listen at all.
///
/// It does not listen: a child of another thread that has not begun its program yet has a copy,
/// and while one listens no other socket is bound there.
fn is_free(port: u16) -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_server_that_ends_at_once_is_an_error_that_tells_its_status() {
        let error = Server::start(&mut Command::new("false"), free_address().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "the server ended: exit status: 1");
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(is_free(port), Err(Errno::ADDRINUSE));
        // What was claimed can be bound while a copy of the socket is still open.
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .unwrap();
        set_socket_reuseaddr(&socket, true).unwrap();
        let address = free_address().unwrap();
        let SocketAddr::V4(address) = address else { panic!("{address}") };
        rustix::net::bind(&socket, &address).unwrap();
        TcpListener::bind(address).unwrap();
    }

    #[test]
    fn a_free_address_is_told_once_and_never_given_for_port_0() {
        let addresses: Vec<_> = (0..500).map(|_| free_address().unwrap().port()).collect();
        let mut once = addresses.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), addresses.len());
        // A test in another process has its own place to begin, and may come here even so.
        assert_eq!(claim(addresses[0]).unwrap(), None);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!addresses.contains(&listener.local_addr().unwrap().port()));
        let dynamic = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let first: u16 = dynamic.split_whitespace().next().unwrap().parse().unwrap();
        assert!(once.iter().all(|port| *port < first), "{once:?}");
    }

    #[test]
    fn a_server_is_stopped_by_sigterm() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::start(Command::new("sleep").arg("600"), address).unwrap();
        assert_eq!(server.stop().unwrap().signal(), Some(15));
    }
}
