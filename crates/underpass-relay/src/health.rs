//! Active checks: a target that does not accept connections gets none, until it does again.
//!
//! A check is a connection that is made and closed; a target that gets PROXY headers gets one of
//! it, too, which says that there is no client. One that fails may be an accident, so it takes
//! several in a row either way.
//!
//! Source: HAProxy, configuration manual, `fall` (3), `rise` (2), `inter` (2 s); its
//! doc/proxy-protocol.txt §2.2 (LOCAL: "such as health checks").

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use underpass_daemon::proxy::{self, Version};

use crate::connect::{connect, is_own_limit};
use crate::targets::{Target, TargetSet};

/// Checks in a row that must fail before a target is down.
const FALL: u32 = 3;

/// Checks in a row that must succeed before it is up again.
const RISE: u32 = 2;

/// Checks all targets, for ever; a reload's from then on.
pub(crate) async fn check(
    mut targets: watch::Receiver<Arc<TargetSet>>,
    every: Option<Duration>,
    limit: Duration,
    header: Option<Version>,
) {
    let header: Arc<[u8]> = header.map_or_else(Vec::new, proxy::encode_local).into();
    let Some(every) = every else { return std::future::pending().await };
    loop {
        let mut checks = JoinSet::new();
        for target in targets.borrow_and_update().targets() {
            checks.spawn(check_one(Arc::clone(target), every, limit, Arc::clone(&header)));
        }
        if targets.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn check_one(target: Arc<Target>, every: Duration, limit: Duration, header: Arc<[u8]>) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut opposed, mut is_blind) = (0, false);
    loop {
        tick.tick().await;
        let connected = look(&target, limit, &header).await;
        if let Err(error) = &connected
            && is_own_limit(error)
        {
            if !is_blind {
                tracing::warn!("{}: checks tell nothing: {error}", target.endpoint);
            }
            is_blind = true;
            continue;
        }
        is_blind = false;
        let is_up = connected.is_ok();
        opposed = if is_up == target.is_up() { 0 } else { opposed + 1 };
        if opposed < if is_up { RISE } else { FALL } {
            continue;
        }
        opposed = 0;
        target.set_up(is_up);
        match connected {
            Ok(()) => tracing::warn!("{} is up", target.endpoint),
            Err(error) => tracing::warn!("{} is down: {error}", target.endpoint),
        }
    }
}

/// One check.
async fn look(target: &Target, limit: Duration, header: &[u8]) -> io::Result<()> {
    let socket = connect(target, limit).await?;
    // A new socket has room for all of it.
    if header.is_empty() { Ok(()) } else { socket.try_send(header).map(|_| ()) }
}
