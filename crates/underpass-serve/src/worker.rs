//! A worker: one thread, one runtime, one listening socket, and the connections it accepts.
//!
//! Each worker listens by itself (`SO_REUSEPORT`), so the kernel spreads connections over them
//! and they share nothing but the page cache. To stop, a worker closes its listener, ends each
//! conversation with the response under way, and drops what is idle.
//!
//! Source: socket(7), `SO_REUSEPORT`; listen(2).

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use underpass_daemon::limits::pause_after;

use crate::connection::{self, Shared};
use crate::site::Site;

/// How long a stopping worker lets responses go on.
const GRACE: Duration = Duration::from_secs(10);

/// How often a stopping worker looks whether it is done, and the access log is written out.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

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
                    spawn_local(connection::serve(socket, peer, Rc::clone(shared)));
                }
                Err(error) => if let Some(pause) = pause_after(&error) {
                    sleep(pause).await;
                }
            },
        }
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
