//! What a service manager is told of a server: ready, reloading, stopping.
//!
//! Without a service manager nothing is sent.
//!
//! Source: sd_notify(3); systemd.service(5), `Type=notify-reload`.

use sd_notify::NotifyState;

/// It serves.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It reads its settings again; [`ready`] follows.
pub(crate) fn reloading() {
    let Ok(now) = NotifyState::monotonic_usec_now() else { return };
    tell(&[NotifyState::Reloading, now]);
}

/// It accepts no more connections and ends soon.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager was not told: {error}");
    }
}
