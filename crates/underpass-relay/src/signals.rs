//! What signals do to a relay: SIGTERM and SIGINT end it, SIGHUP reloads it.
//!
//! Source: signal(7); tokio::signal::unix.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use underpass_daemon::bound_path::BoundPath;
use underpass_daemon::log::Log;

use crate::endpoint::Endpoint;
use crate::target_list::Targets;
use crate::targets::TargetSet;

/// The signals, which from here on are waited for and end nothing by themselves.
#[derive(Debug)]
pub(crate) struct Signals {
    pub(crate) runtime: Runtime,
    pub(crate) term: Signal,
    pub(crate) int: Signal,
    pub(crate) hup: Signal,
}

impl Signals {
    pub(crate) fn watch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let context = runtime.enter();
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let hup = signal(SignalKind::hangup())?;
        drop(context);
        Ok(Self { runtime, term, int, hup })
    }
}

/// Tells the workers to stop at the first signal, and to hurry at every further one.
pub(crate) async fn stop_on(
    term: &mut Signal,
    int: &mut Signal,
    stop: &watch::Sender<bool>,
    path: Option<BoundPath>,
) {
    let mut path = path;
    loop {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        // The next relay may bind it while this one lets its connections end.
        drop(path.take());
        stop.send_replace(true);
    }
}

/// Reads the targets again and opens the log anew, at each SIGHUP. Connections that are open stay
/// with the targets they have.
pub(crate) async fn reload_on(
    hup: &mut Signal,
    (from, listen): (&Targets, &Endpoint),
    targets: &watch::Sender<Arc<TargetSet>>,
    log: &Log,
) {
    while hup.recv().await.is_some() {
        log.reopen();
        if matches!(from, Targets::Fixed(_)) {
            continue;
        }
        let (from, listen) = (from.clone(), listen.clone());
        // Names are looked up, and the file may lie anywhere: meanwhile all else goes on.
        let read = spawn_blocking(move || from.read(&listen)).await;
        match read.unwrap_or_else(|panic| resume_unwind(panic.into_panic())) {
            Ok(endpoints) => {
                let set = TargetSet::new(endpoints, Some(&targets.borrow()));
                tracing::info!("{} targets from now on", set.targets().len());
                targets.send_replace(Arc::new(set));
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                tracing::warn!("the targets stay what they were: {error}{cause}");
            }
        }
    }
    std::future::pending::<()>().await;
}
