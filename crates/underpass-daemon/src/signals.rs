//! The signals of a server: TERM and INT stop it, HUP reloads it, USR1 opens its log again.
//!
//! USR2 does nothing, so that a script written for another server does not end this one.
//!
//! Source: signal(7); tokio::signal::unix; nginx, "Controlling nginx" (USR1, USR2).

use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::bound_path::BoundPath;
use crate::log::Log;
use crate::notify;

/// The signals, which are from here on waited for and end nothing by themselves.
#[derive(Debug)]
pub(crate) struct Signals {
    pub(crate) runtime: Runtime,
    pub(crate) stop: Stop,
    pub(crate) reload: Reload,
}

#[derive(Debug)]
pub(crate) struct Stop {
    term: Signal,
    int: Signal,
}

#[derive(Debug)]
pub(crate) struct Reload {
    hup: Signal,
    usr1: Signal,
    /// Its default would end the process.
    _usr2: Signal,
}

impl Signals {
    pub(crate) fn watch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let context = runtime.enter();
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (hup, usr1) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
        let _usr2 = signal(SignalKind::user_defined2())?;
        drop(context);
        Ok(Self { runtime, stop: Stop { term, int }, reload: Reload { hup, usr1, _usr2 } })
    }
}

/// Tells the workers to stop at the first signal, or when `background` is over, and to end at once
/// at the second signal.
pub(crate) async fn stop_on(
    Stop { mut term, mut int }: Stop,
    mut background: Pin<Box<dyn Future<Output = ()>>>,
    stop: &watch::Sender<u32>,
    mut paths: Vec<BoundPath>,
) {
    let mut is_running = true;
    loop {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            () = background.as_mut(), if is_running => is_running = false,
        }
        // The next server may bind them while this one drains.
        paths.clear();
        notify::stopping();
        stop.send_modify(|signals| *signals = signals.saturating_add(1));
    }
}

/// Opens the log again at each HUP and USR1, and reloads at each HUP. A reload that waits, for a
/// name server or a disk, keeps USR1 from nothing.
pub(crate) async fn reload_on(
    Reload { mut hup, mut usr1, _usr2 }: Reload,
    log: &Log,
    reload: Arc<dyn Fn() + Send + Sync>,
) {
    let reopening = async {
        while usr1.recv().await.is_some() {
            log.reopen();
        }
    };
    let reloading = async {
        while hup.recv().await.is_some() {
            log.reopen();
            notify::reloading();
            let reload = Arc::clone(&reload);
            let done = spawn_blocking(move || reload()).await;
            done.unwrap_or_else(|panic| resume_unwind(panic.into_panic()));
            notify::ready();
        }
    };
    tokio::join!(reopening, reloading);
}
