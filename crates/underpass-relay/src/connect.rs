//! Connecting to targets, and the errors of it that are not the target's.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::{Instant, timeout};
use underpass_daemon::endpoint::Endpoint;

use crate::socket::Socket;
use crate::targets::Target;

/// Connects to a target within `limit`. The addresses of a name are tried one after another, each
/// for an equal share of the time that is left.
pub(crate) async fn connect(target: &Target, limit: Duration) -> io::Result<Socket> {
    match &target.endpoint {
        Endpoint::Tcp(address) => within(limit, Socket::connect_tcp(*address)).await,
        Endpoint::Unix(path) => within(limit, Socket::connect_unix(path)).await,
        Endpoint::Name(_) => Box::pin(connect_by_name(target, limit)).await,
    }
}

async fn connect_by_name(target: &Target, limit: Duration) -> io::Result<Socket> {
    let (addresses, start) = (target.addresses(), Instant::now());
    let mut outcome = Err(io::Error::other("the host was not found"));
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in &*addresses {
        let share = limit.saturating_sub(start.elapsed()) / left;
        left = 1.max(left - 1);
        outcome = within(share, Socket::connect_tcp(*address)).await;
        match &outcome {
            Ok(_) => {
                target.prefer(*address);
                break;
            }
            Err(error) if is_own_limit(error) => break,
            Err(_) => {}
        }
    }
    outcome
}

async fn within(
    limit: Duration,
    connecting: impl Future<Output = io::Result<Socket>>,
) -> io::Result<Socket> {
    timeout(limit, connecting).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {limit:?}")))
    })
}

/// Whether this process, or this machine, had no room for a connection: that says nothing of the
/// other end.
pub(crate) fn is_own_limit(error: &io::Error) -> bool {
    let limits = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| limits.contains(&errno))
}
