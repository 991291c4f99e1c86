//! The signals that end a watch, and where they come from.
//!
//! Ctrl-C reaches every process of the terminal's foreground, the command among them; what
//! kill(1) sends reaches this program alone.
//!
//! Source: sigaction(2) (`SI_KERNEL`, `SI_USER`), nohup(1).

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};
use underpass_measure::Came;

/// Signals that have come and were not told yet.
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
    come: VecDeque<Came>,
}

impl Signals {
    /// Catches them for the rest of the process's life.
    pub(crate) fn catch() -> io::Result<Self> {
        let mut wanted = vec![Signal::INT, Signal::TERM, Signal::CHILD];
        // nohup(1) has it ignored.
        if !is_ignored(Signal::HUP) {
            wanted.push(Signal::HUP);
        }
        let (read, write) = UnixStream::pair()?;
        let numbers = wanted.into_iter().map(Signal::as_raw);
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), numbers)?;
        Ok(Self { delivery, come: VecDeque::new() })
    }

    /// Waits at most so long, and says what came.
    pub(crate) fn wait(&mut self, most: Duration) -> Came {
        if self.come.is_empty() {
            let mut read = [PollFd::new(self.delivery.get_read(), PollFlags::IN)];
            let most = Timespec::try_from(most).ok();
            // A signal may interrupt it: then there is one to tell of.
            poll(&mut read, most.as_ref()).unwrap_or_default();
            self.come.extend(self.delivery.pending().map(|origin| came(&origin)));
        }
        self.come.pop_front().unwrap_or(Came::Time)
    }
}

fn came(origin: &Origin) -> Came {
    match Signal::from_named_raw(origin.signal) {
        Some(Signal::CHILD) | None => Came::Child,
        Some(signal) => Came::Signal { signal, is_from_terminal: origin.cause == Cause::Kernel },
    }
}

/// Whether the parent has a signal ignored (proc_pid_status(5), `SigIgn`).
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal.as_raw() - 1)) != 0)
}
