//! What a machine may hide from the probe, and trying again where it does.
//!
//! The tests of the command have this file, too, by its path.

use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use underpass_measure::{Probe, Sight};
use underpass_testkit::wait;

/// Whether this machine lets no program of the probe run while its init process does, as a
/// sandbox may do to the one that manages it.
///
/// A timer that fires then sends packets unseen: seen in tracefs, not by any tracing program. Of
/// some hundred transfers over loopback one has such a packet.
fn is_init_hidden() -> bool {
    static HIDDEN: LazyLock<bool> = LazyLock::new(|| {
        let probe = Probe::load(Sight::Everything).unwrap();
        probe.follow(1).unwrap();
        let is_seen = wait::until(Duration::from_millis(500), || {
            // An orphan, whose end init is woken to hear of.
            Command::new("sh").args(["-c", "true & exit"]).status().unwrap();
            let evidence = probe.evidence().unwrap();
            evidence.calls.iter().any(|calls| calls.process == 1).then_some(())
        });
        is_seen.is_none()
    });
    *HIDDEN
}

/// What `once` gives; up to twice more where this machine hides packets, until nothing is
/// missing.
pub(crate) fn tried<T>(once: impl FnMut() -> T, is_whole: impl Fn(&T) -> bool) -> T {
    tried_if(is_init_hidden, once, is_whole)
}

fn tried_if<T>(
    is_hidden: impl Fn() -> bool,
    mut once: impl FnMut() -> T,
    is_whole: impl Fn(&T) -> bool,
) -> T {
    let first = once();
    if is_whole(&first) || !is_hidden() {
        return first;
    }
    let second = once();
    if is_whole(&second) { second } else { once() }
}

#[test]
fn what_is_not_whole_is_tried_three_times_and_only_where_packets_are_hidden() {
    for (is_hidden, whole_at, tries) in
        [(true, 1, 1), (true, 2, 2), (true, 3, 3), (true, 9, 3), (false, 9, 1)]
    {
        let mut made = 0;
        let once = || {
            made += 1;
            made
        };
        assert_eq!(tried_if(|| is_hidden, once, |try_| *try_ >= whole_at), tries);
    }
}
