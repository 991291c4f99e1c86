//! A server program as a child process: started, found, stopped.
//!
//! Ready means that it accepts connections, not that it was started. It is ended with the
//! fixture, first politely, so that a panicking test leaves no process behind.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::wait;

/// How long a server may take to start or to stop before the test fails.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// A loopback address that was free a moment ago, for servers that cannot report the port they
/// were given for port 0.
///
/// # Errors
///
/// Those of bind(2).
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_at_once_is_an_error_that_tells_its_status() {
        let error = Server::start(&mut Command::new("false"), free_address().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "the server ended: exit status: 1");
    }

    #[test]
    fn a_server_is_stopped_by_sigterm() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::start(Command::new("sleep").arg("600"), address).unwrap();
        assert_eq!(server.stop().unwrap().signal(), Some(15));
    }
}
