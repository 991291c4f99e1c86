//! What a switch between user and kernel mode costs, next to what it is often mistaken for.
//!
//! A system call that does next to nothing shows the way there and back; a call into the vDSO
//! shows the same question answered without it. A page fault is such a switch too, and a change
//! of threads is something else.
//!
//! Source: syscall(2), vdso(7), getppid(2).

use std::io::{self, Read, Write};

use rustix::time::ClockId;

use crate::affinity::{own_processors, pin};
use crate::claims::rig::{self, Rig};
use crate::claims::{Diary, Shown, Unit, Verdict};
use crate::figure::{Figure, float};
use crate::usage;

/// "Tens of nanoseconds to microseconds", in nanoseconds.
const TENS: f64 = 10.0;
const MICROSECONDS: f64 = 10_000.0;

/// Calls that move 10^9 bytes in pieces of 64 KiB.
const CALLS_A_GB: f64 = 1e9 / 65_536.0;

/// Anonymous memory that is touched for the first time.
const TOUCHED_BYTES: usize = 16 << 20;

/// Times a byte goes from one thread to another and back.
const ROUNDS: u32 = 2_000;

pub(super) fn measure(_: &Rig<'_>) -> io::Result<Shown> {
    let call = rig::nanoseconds_each(2_000, || {
        std::hint::black_box(rustix::process::getppid());
    });
    let clock = rig::nanoseconds_each(2_000, || {
        std::hint::black_box(rustix::time::clock_gettime(ClockId::Monotonic));
    });
    let (faults, fault) = first_touches()?;
    let between_threads = between_threads().map_or_else(
        |error| Figure::Unavailable(error.to_string()),
        |nanoseconds| Figure::Derived {
            value: nanoseconds,
            from: "time of a byte's way through two pipes and back / 2",
        },
    );
    let fault = Figure::Derived { value: fault, from: "time of first touches / faults taken" };
    let of_a_gb = Figure::Derived { value: call * CALLS_A_GB, from: "getppid(2) x 15,259 calls" };
    let mut diary = Diary::default();
    for (what, figure) in [
        ("getppid(2): into the kernel and back", &Figure::Measured(call)),
        ("clock_gettime(2), answered in user mode by the vDSO", &Figure::Measured(clock)),
        (&format!("a page fault that gives a zeroed page, of {faults}"), &fault),
        ("from one thread to another on one processor", &between_threads),
        ("switches of moving 1 GB in calls of 64 KiB", &of_a_gb),
    ] {
        diary.figure(what, figure, Unit::Nanoseconds);
    }
    Ok(diary.shown(judge(call), explanation(call, between_threads.value())))
}

fn judge(call: f64) -> Verdict {
    Verdict::of((TENS..=MICROSECONDS).contains(&call))
}

fn explanation(call: f64, between_threads: Option<f64>) -> String {
    let threads = match between_threads {
        Some(it) if it > call => " A change of threads is another thing and costs more.",
        Some(_) | None => " A change of threads is another thing.",
    };
    format!(
        "A call that does nothing costs {call:.0} ns; with calls of 64 KiB that is {:.1} ms per \
         GB, little next to the copying. Switches matter where calls are small.{threads}",
        call * CALLS_A_GB / 1e6
    )
}

/// Faults taken by touching new memory, and the time of each.
fn first_touches() -> io::Result<(u64, f64)> {
    let (memory, spent) = usage::in_a_fresh_thread(|| -> io::Result<Vec<u8>> {
        let mut memory = vec![0; TOUCHED_BYTES];
        for byte in memory.iter_mut().step_by(4096) {
            *std::hint::black_box(byte) = 1;
        }
        Ok(memory)
    })?;
    drop(memory);
    let faults = spent.minor_faults.max(1);
    Ok((faults, spent.elapsed.as_secs_f64() * 1e9 / float(faults)))
}

/// Time of a change of threads, half of what a byte's way there and back takes.
fn between_threads() -> io::Result<f64> {
    let processor = own_processors().first().copied().unwrap_or(0);
    let (mut here_read, mut there_write) = io::pipe()?;
    let (mut there_read, mut here_write) = io::pipe()?;
    std::thread::scope(|scope| {
        let other = scope.spawn(move || -> io::Result<()> {
            pin(processor)?;
            let mut byte = [0];
            while there_read.read(&mut byte)? == 1 {
                there_write.write_all(&byte)?;
            }
            Ok(())
        });
        let this = scope.spawn(move || -> io::Result<f64> {
            pin(processor)?;
            let mut outcome = Ok(());
            let each = rig::nanoseconds_each(ROUNDS / 20, || {
                let mut byte = [7];
                let there =
                    here_write.write_all(&byte).and_then(|()| here_read.read_exact(&mut byte));
                if let Err(error) = there {
                    outcome = Err(error);
                }
            });
            outcome.map(|()| each / 2.0)
        });
        let each = this.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        each
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tens_of_nanoseconds_to_microseconds_hold_and_others_do_not() {
        assert_eq!(judge(9.0), Verdict::DoesNotHold);
        assert_eq!(judge(60.0), Verdict::Holds);
        assert_eq!(judge(1_500.0), Verdict::Holds);
        assert_eq!(judge(20_000.0), Verdict::DoesNotHold);
        let costs_more = |threads| explanation(60.0, threads).contains("costs more");
        assert_eq!([Some(900.0), Some(50.0), None].map(costs_more), [true, false, false]);
    }

    #[test]
    fn a_change_of_threads_takes_time() {
        assert!(between_threads().unwrap() > 10.0);
    }
}
