//! Looking up the names of targets: at the start, at SIGHUP, every few seconds from then on, and
//! when no address of a name answers. How long an answer stays right, getaddrinfo(3) does not tell.
//!
//! A name that is not found keeps the addresses it had. One that never had any is a target that
//! cannot be reached, and not a reason not to start: the name server may start later.

use std::future::pending;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use underpass_daemon::endpoint::Endpoint;

use crate::settings::Settings;
use crate::targets::{Target, TargetSet};

/// Names that are looked up at the same time, each on its own thread: a name server that does not
/// answer takes 10 s and more.
const AT_ONCE: usize = 32;

/// How long until names are looked up again, however many connections fail.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks all names up now, and waits for it. Gives a target that leads to `own`, where the relay
/// listens, if there is one; such addresses of a name are not used.
pub(crate) fn look_up(targets: &TargetSet, own: &[Endpoint]) -> Option<Endpoint> {
    let named: Vec<_> = targets.targets().iter().filter(|target| target.is_named()).collect();
    let mut leading_back = targets.leading_to(own);
    for some in named.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let threads: Vec<_> = some
                .iter()
                .map(|&target| scope.spawn(move || look_up_one(target, own).then_some(target)))
                .collect();
            for found in threads.into_iter().filter_map(|thread| thread.join().ok().flatten()) {
                leading_back.get_or_insert_with(|| found.endpoint.clone());
            }
        });
    }
    leading_back
}

/// Whether some of the addresses are where the relay listens.
fn look_up_one(target: &Target, own: &[Endpoint]) -> bool {
    let found = target.endpoint.addresses();
    let was_lost = target.set_lost(found.is_err());
    match found {
        Ok(mut addresses) => {
            let count = addresses.len();
            addresses.retain(|&address| !Endpoint::Tcp(address).leads_to_one_of(own));
            let is_ours = addresses.len() < count;
            target.set_addresses(addresses);
            if was_lost {
                tracing::warn!("{} is found", target.endpoint);
            }
            return is_ours;
        }
        Err(error) if !was_lost => {
            tracing::warn!("{}: {error}; it is looked up again", target.endpoint);
        }
        Err(_) => {}
    }
    false
}

/// Looks names up again, for ever: after `every`, and when one has failed.
pub(crate) async fn keep_up(
    mut targets: watch::Receiver<Arc<TargetSet>>,
    own: Arc<[Endpoint]>,
    settings: Arc<Settings>,
    every: Option<Duration>,
) {
    let rest = every.map_or(Duration::MAX, |every| every.saturating_sub(PAUSE));
    loop {
        let has_names = targets.borrow_and_update().targets().iter().any(|it| it.is_named());
        if !has_names {
            if targets.changed().await.is_err() {
                return pending().await;
            }
            continue;
        }
        sleep(PAUSE).await;
        // Whichever comes first.
        drop(timeout(rest, settings.name_failed.notified()).await);
        let (set, own) = (Arc::clone(&targets.borrow()), Arc::clone(&own));
        // Only a panic keeps the answer back, and that has been told.
        drop(spawn_blocking(move || look_up(&set, &own)).await);
    }
}
