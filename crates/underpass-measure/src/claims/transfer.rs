//! A file through a Unix socket by three methods, with calls, bytes and faults counted.
//!
//! What read(2) returns and what write(2) takes is copied by the processor, once each; what
//! sendfile(2) moves shows in neither sum. The sums are of the calls made here, not of
//! `/proc/pid/io`, which counts a sendfile as a read and a write.
//!
//! Source: read(2), write(2), sendfile(2), mmap(2).

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use underpass_sys::map::Map;

use crate::cache;
use crate::claims::rig::{FILE_BYTES, PIECE_BYTES, Rig};
use crate::claims::{Line, Shown, Unit, Verdict};
use crate::figure::{Figure, float};
use crate::usage::{self, Used};

/// How the bytes go.
#[derive(Debug, Clone, Copy)]
enum Method {
    ReadWrite,
    MmapWrite,
    /// With this many bytes asked for in a call.
    Sendfile(usize),
}

/// What the calls returned.
#[derive(Debug, Clone, Copy, Default)]
struct Calls {
    calls: u64,
    read_bytes: u64,
    written_bytes: u64,
    sent_bytes: u64,
}

/// Of an odd number of runs, the one with the median processor time is kept.
const RUNS: usize = 5;

pub(super) fn mapping_saves_a_copy(rig: &mut Rig<'_>) -> io::Result<Shown> {
    let read_write = median(rig, Method::ReadWrite)?;
    let mapping = median(rig, Method::MmapWrite)?;
    let (with_read, with_map) = (copies(&read_write.0), copies(&mapping.0));
    let mut lines = Vec::new();
    for (name, (calls, spent)) in [("read + write", &read_write), ("mmap + write", &mapping)] {
        let value = copies(calls);
        let from = "(bytes read(2) returned + bytes write(2) took) / bytes moved";
        lines.extend([
            Line::new(
                format!("{name}: copies at the sender"),
                Figure::Derived { value, from },
                Unit::Copies,
            ),
            Line::new(
                format!("{name}: processor time of the sender"),
                Figure::Measured(cpu_s_per_gb(spent)),
                Unit::CpuSPerGb,
            ),
            Line::new(
                format!("{name}: page faults"),
                Figure::count(spent.minor_faults + spent.major_faults),
                Unit::Faults,
            ),
        ]);
    }
    let (cpu_read, cpu_map) = (cpu_s_per_gb(&read_write.1), cpu_s_per_gb(&mapping.1));
    let time = if cpu_map < cpu_read * 0.95 {
        format!("and with it {:.0} % of the processor time", (1.0 - cpu_map / cpu_read) * 100.0)
    } else {
        "but no processor time: the faults cost what the copy did".to_owned()
    };
    Ok(Shown {
        lines,
        verdict: saved(with_read, with_map),
        explanation: format!(
            "read(2) copies each byte into the buffer and write(2) out of it; a mapping needs the \
             second only. That saves the copy, {time}."
        ),
    })
}

pub(super) fn sendfile_halves_the_switches(rig: &mut Rig<'_>) -> io::Result<Shown> {
    let read_write = median(rig, Method::ReadWrite)?;
    let mapping = median(rig, Method::MmapWrite)?;
    let pieces = median(rig, Method::Sendfile(PIECE_BYTES))?;
    let whole = median(rig, Method::Sendfile(usize::try_from(FILE_BYTES).unwrap_or(usize::MAX)))?;
    let mut lines = Vec::new();
    for (name, (calls, spent)) in [
        ("read + write, 64 KiB a call", &read_write),
        ("mmap + write, 64 KiB a call", &mapping),
        ("sendfile, 64 KiB a call", &pieces),
        ("sendfile, asked for all at once", &whole),
    ] {
        lines.push(Line::new(format!("{name}: calls"), Figure::count(calls.calls), Unit::Calls));
        let value = 2.0 * float(calls.calls);
        let crossings = Figure::Derived { value, from: "2 x calls, faults not among them" };
        lines.push(Line::new(format!("{name}: there and back"), crossings, Unit::Crossings));
        lines.push(Line::new(
            format!("{name}: changes of threads"),
            Figure::count(spent.switches),
            Unit::Switches,
        ));
    }
    let ratio = float(pieces.0.calls) / float(read_write.0.calls);
    Ok(Shown {
        lines,
        verdict: halves(ratio),
        explanation: format!(
            "Where read + write make two calls, sendfile makes one: {ratio:.2} of the calls at the \
             same bytes a call. It needs no buffer, so it can be asked for all at once, and then \
             it halves nothing: it made {} of {} calls. A blocked sender changes threads either \
             way, which is another thing.",
            whole.0.calls, read_write.0.calls
        ),
    })
}

fn copies(calls: &Calls) -> f64 {
    float(calls.read_bytes + calls.written_bytes) / float(FILE_BYTES)
}

fn cpu_s_per_gb(spent: &Used) -> f64 {
    spent.cpu.as_secs_f64() / (float(FILE_BYTES) / 1e9)
}

fn saved(with_read: f64, with_map: f64) -> Verdict {
    let is_one = (0.99..=1.01).contains(&(with_read - with_map));
    if is_one { Verdict::Holds } else { Verdict::DoesNotHold }
}

fn halves(ratio: f64) -> Verdict {
    if (0.0..=0.55).contains(&ratio) { Verdict::Holds } else { Verdict::DoesNotHold }
}

fn median(rig: &Rig<'_>, method: Method) -> io::Result<(Calls, Used)> {
    cache::fill(&rig.file, FILE_BYTES)?.map_err(io::Error::other)?;
    let mut runs =
        (0..RUNS).map(|_| run(rig, method)).collect::<io::Result<Vec<(Calls, Used)>>>()?;
    runs.sort_by_key(|(_, spent)| spent.cpu);
    Ok(runs.swap_remove(RUNS / 2))
}

/// Sends the file once, to a thread that reads it.
fn run(rig: &Rig<'_>, method: Method) -> io::Result<(Calls, Used)> {
    let (sender, mut receiver) = UnixStream::pair()?;
    std::thread::scope(|scope| {
        let sink = scope.spawn(move || -> io::Result<u64> {
            let mut buffer = vec![0; 1 << 20];
            let mut total = 0;
            loop {
                match receiver.read(&mut buffer)? {
                    0 => return Ok(total),
                    n => total += n as u64,
                }
            }
        });
        let sent = usage::in_a_fresh_thread(|| {
            let calls = match method {
                Method::ReadWrite => read_write(rig, &sender),
                Method::MmapWrite => mmap_write(rig, &sender),
                Method::Sendfile(piece) => sendfile(rig, &sender, piece),
            };
            drop(sender);
            calls
        });
        let arrived = sink.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let (calls, spent) = sent?;
        if arrived == FILE_BYTES && calls.written_bytes + calls.sent_bytes == FILE_BYTES {
            return Ok((calls, spent));
        }
        Err(io::Error::other(format!("{arrived} of {FILE_BYTES} bytes arrived")))
    })
}

fn read_write(rig: &Rig<'_>, sink: &UnixStream) -> io::Result<Calls> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut calls = Calls::default();
    while calls.read_bytes < FILE_BYTES {
        let n = rig.file.read_at(&mut buffer, calls.read_bytes)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        calls.calls += 1;
        calls.read_bytes += n as u64;
        let mut rest = &buffer[..n];
        while !rest.is_empty() {
            let n = rustix::io::write(sink, rest)?;
            calls.calls += 1;
            calls.written_bytes += n as u64;
            rest = &rest[n..];
        }
    }
    Ok(calls)
}

fn mmap_write(rig: &Rig<'_>, sink: &UnixStream) -> io::Result<Calls> {
    let len = usize::try_from(FILE_BYTES).map_err(io::Error::other)?;
    let map = Map::new(rig.file.as_fd(), 0, len)?;
    // mmap(2) and munmap(2).
    let mut calls = Calls { calls: 2, ..Calls::default() };
    let mut at = 0;
    while at < len {
        let n = map.write_to(sink.as_fd(), at..len.min(at + PIECE_BYTES))?;
        calls.calls += 1;
        calls.written_bytes += n as u64;
        at += n;
    }
    Ok(calls)
}

fn sendfile(rig: &Rig<'_>, sink: &UnixStream, piece: usize) -> io::Result<Calls> {
    let mut calls = Calls::default();
    let mut at = 0;
    while at < FILE_BYTES {
        let n = rustix::fs::sendfile(sink, &rig.file, Some(&mut at), piece)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        calls.calls += 1;
        calls.sent_bytes += n as u64;
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_copy_saved_holds_and_none_or_two_do_not() {
        assert_eq!(saved(2.0, 1.0), Verdict::Holds);
        assert_eq!(saved(2.0, 2.0), Verdict::DoesNotHold);
        assert_eq!(saved(2.0, 0.0), Verdict::DoesNotHold);
    }

    #[test]
    fn half_the_calls_or_fewer_hold() {
        assert_eq!(halves(0.5), Verdict::Holds);
        assert_eq!(halves(0.01), Verdict::Holds);
        assert_eq!(halves(1.0), Verdict::DoesNotHold);
        assert_eq!(halves(f64::NAN), Verdict::DoesNotHold);
    }
}
