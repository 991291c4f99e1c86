//! A worker: one thread, one runtime, one listening socket, and the connections it accepts.
//!
//! Each worker listens by itself (`SO_REUSEPORT`), so the kernel spreads connections over them
//! and they share nothing but the page cache. To stop, a worker closes its listener, ends each
//! conversation with the response under way, and drops what is idle.
//!
//! Source: socket(7), `SO_REUSEPORT`; listen(2).

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::connection::{self, Shared};
use crate::site::Site;

/// Connections the kernel completes before they are accepted.
const BACKLOG: i32 = 4096;

/// How long a stopping worker lets responses go on.
const GRACE: Duration = Duration::from_secs(10);

/// How often a stopping worker looks whether it is done, and the access log is written out.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// How long accepting pauses when the process has no descriptor left.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Binds a listening socket that others of the same user may share the address with.
pub(crate) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves until `stop` changes.
///
/// # Errors
///
/// If the runtime cannot be made or the socket not be watched.
pub(crate) fn run(
    listener: std::net::TcpListener,
    site: Site,
    connections_max: usize,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let shared = Rc::new(Shared::new(Rc::new(site)));
        accept_until(stop, listener, connections_max, &shared).await;
        drain(&shared).await;
        shared.site.flush_log();
        Ok(())
    })
}

async fn accept_until(
    mut stop: watch::Receiver<bool>,
    listener: TcpListener,
    connections_max: usize,
    shared: &Rc<Shared>,
) {
    let mut flush = interval(FLUSH_EVERY);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_full = shared.open() >= connections_max;
        tokio::select! {
            biased;
            // An error means that the server itself is gone.
            _ = stop.changed() => return,
            _ = flush.tick(), if shared.site.has_log() => shared.site.flush_log(),
            accepted = listener.accept(), if !is_full => match accepted {
                Ok((socket, peer)) => {
                    // A peer that is gone already is met again by the first read.
                    if socket.set_nodelay(true).is_ok() {
                        spawn_local(connection::serve(socket, peer, Rc::clone(shared)));
                    }
                }
                Err(error) => pause_after(&error).await,
            },
        }
    }
}

/// accept(2) reports errors of the connection, which concern nobody else, and of limits, which
/// pass when connections end.
async fn pause_after(error: &io::Error) {
    let errno = Errno::from_io_error(error);
    if matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) {
        tracing::warn!("accepting pauses for {OUT_OF_DESCRIPTORS:?}: {error}");
        sleep(OUT_OF_DESCRIPTORS).await;
    }
}

async fn drain(shared: &Shared) {
    shared.stop();
    let end = Instant::now() + GRACE;
    while shared.busy() > 0 && Instant::now() < end {
        sleep(FLUSH_EVERY / 20).await;
    }
    if shared.busy() > 0 {
        tracing::warn!("{} responses cut short after {GRACE:?}", shared.busy());
    }
}
