//! The guard against SIGBUS: a touch of a mapped page that its file lost is survived.
//!
//! The handler asks the arena to put zeros under the faulting address and to mark the region
//! broken; the reader continues and learns of it from `Region::broken_at`. A fault anywhere else
//! goes to the handler that was there before, and without one ends the process as usual.
//!
//! Source: sigaction(2), "SA_SIGINFO", "SA_ONSTACK"; mmap(2), SIGBUS; signal-safety(7).

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use rustix::io::Errno;

use crate::{arena, last_errno};

static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Puts the guard in place, once a process; a later call does nothing.
pub(crate) fn install() -> Result<(), Errno> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: sigaction(2): a null `act` changes nothing; `before` has room for the answer.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), before.as_mut_ptr()) } < 0 {
        return Err(last_errno());
    }
    // SAFETY: sigaction(2) filled `before` in, since it returned 0.
    let before = unsafe { before.assume_init() };
    if BEFORE.set(before).is_err() {
        return Ok(());
    }
    // SAFETY: sigaction(2): the structure is plain integers, for which all zeros is valid: no
    // flags and an empty mask.
    let mut guard: libc::sigaction = unsafe { std::mem::zeroed() };
    guard.sa_sigaction = on_sigbus as *const () as usize;
    // SA_NODEFER: a fault inside a chained handler must not be held back for ever.
    guard.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: sigaction(2): `guard` outlives the call, and the handler keeps to signal-safety(7).
    if unsafe { libc::sigaction(libc::SIGBUS, &raw const guard, ptr::null_mut()) } < 0 {
        return Err(last_errno());
    }
    Ok(())
}

extern "C" fn on_sigbus(
    signal: libc::c_int,
    detail: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: signal-safety(7): "errno" must be kept; its address is the thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: errno(3): the location is valid for the thread's life.
    let kept = unsafe { errno.read() };
    // SAFETY: sigaction(2), SA_SIGINFO: `detail` points to the signal's siginfo_t.
    let detail_ref = unsafe { &*detail };
    // SAFETY: sigaction(2): SIGBUS "fill[s] in si_addr with the address of the fault".
    let address = unsafe { detail_ref.si_addr() }.addr();
    if !arena::patch(address) {
        chain(signal, detail, context);
    }
    // SAFETY: errno(3): as above.
    unsafe { errno.write(kept) };
}

/// Hands a fault that is not ours to the handler that was there before.
fn chain(signal: libc::c_int, detail: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(before) = BEFORE.get() else { return };
    if before.sa_sigaction == libc::SIG_DFL || before.sa_sigaction == libc::SIG_IGN {
        // SAFETY: signal(2): the default action is put back; the access is retried on return,
        // faults again and ends the process as it would have without the guard.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    } else if before.sa_flags & libc::SA_SIGINFO != 0 {
        type Detailed = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: sigaction(2), SA_SIGINFO: the field held a function of these three arguments.
        let handler: Detailed = unsafe { std::mem::transmute(before.sa_sigaction) };
        handler(signal, detail, context);
    } else {
        // SAFETY: sigaction(2): without SA_SIGINFO the field held a function of one argument.
        let handler: extern "C" fn(libc::c_int) =
            unsafe { std::mem::transmute(before.sa_sigaction) };
        handler(signal);
    }
}
