//! SIGHUP, SIGINT and SIGTERM end a copy.
//!
//! The first signal ends it through its ordinary error path, which removes what has no name yet. A
//! second one ends the process at once: the way out of a call that nothing wakes, such as waiting
//! for a name server that does not answer.
//!
//! Source: signal(7).

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use underpass_client::Interrupt;
use underpass_sys::signal;

/// Catches SIGHUP, SIGINT and SIGTERM for the rest of the process's life.
///
/// # Errors
///
/// Those of socketpair(2) and sigaction(2).
pub fn catch_signals() -> io::Result<Interrupt> {
    let interrupt = Interrupt::never()?;
    let again = Arc::new(AtomicBool::new(false));
    for (signal, number) in [(SIGHUP, 1_usize), (SIGINT, 2), (SIGTERM, 15)] {
        // nohup(1) has it ignored. A shell has SIGINT ignored by what it starts in the
        // background, but one that is sent there is meant.
        if signal == SIGHUP && signal::is_ignored(signal)? {
            continue;
        }
        let status = 128 + signal;
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&again))?;
        signal_hook::flag::register(signal, Arc::clone(&again))?;
        let (flag, waker) = interrupt.for_handlers()?;
        signal_hook::flag::register_usize(signal, flag, number)?;
        signal_hook::low_level::pipe::register(signal, waker)?;
    }
    Ok(interrupt)
}
