//! From what was seen of a row's runs to its figures and its verdict; pure.
//!
//! How it is known differs by what the bytes went to: of TCP the packets' pages tell, of a Unix
//! socket the pages that the receiver copied from, of a pipe only the calls, of a file the
//! extents. Without BPF there are the calls alone, and what these leave open is said to be open.

mod by_calls;
mod by_extents;
mod by_pages;

use underpass::Method;

use super::besides::{self, Besides};
use super::crew::Run;
use super::plan::Case;
use super::report::{CallsOfKind, Row, Verdict};
use super::seen::Seen;
use crate::cache::PAGE_BYTES;
use crate::figure::{Figure, Spread, float, gb, median};
use crate::methods;
use crate::terms::Pair;

/// All that is known of a row.
#[derive(Debug)]
pub(super) struct Known<'k> {
    pub(super) case: &'k Case,
    /// The timed runs, one at least.
    pub(super) timed: &'k [Run],
    /// The run whose bytes were compared and whose memory was looked at.
    pub(super) checked: &'k Run,
    /// What the probe saw of a separate run, or why there is none.
    pub(super) seen: Result<&'k Seen, &'k str>,
    /// That run.
    pub(super) watched: Option<&'k Run>,
    /// Timed runs whose receiver discards.
    pub(super) discarding: &'k [Run],
    /// What the probe saw of another such.
    pub(super) seen_discarding: Option<&'k Seen>,
    /// The inode of the file.
    pub(super) inode: u64,
}

/// What became of the bytes.
pub(super) struct Fate {
    pub(super) sender_copies: Figure,
    pub(super) receiver_copies: Figure,
    pub(super) by_reference_bytes: Figure,
    pub(super) inode: Option<u64>,
    pub(super) verdict: Verdict,
}

/// A share from which on all bytes are said to have gone one way: headers that share a packet
/// with payload, and retransmissions, are not errors of the method.
const NEARLY_ALL: f64 = 0.999;

/// The row.
pub(super) fn row(known: &Known<'_>) -> Row {
    let Known { case, checked, .. } = known;
    let middle = median(known.timed, throughput);
    let fate = fate(known);
    let missing = || Figure::Unavailable("memory in use was not looked at".into());
    let peak = checked.sender.peak.as_ref();
    let mapped = |unit: u64| {
        peak.map_or_else(missing, |peak| Figure::Derived {
            value: float(peak.file / unit),
            from: "most memory in mappings of the file between two calls, with what the call that \
                   ended a mapping had sent from it",
        })
    };
    let receiver_cpu = middle.receiver.as_ref().map_or_else(
        || Figure::Unavailable("a file has no receiver".into()),
        |receiver| Figure::Measured(seconds(receiver.cpu_ns) / gb(case.bytes)),
    );
    Row {
        pair: case.pair,
        link: case.link,
        cache: case.cache,
        method: case.method,
        bytes: case.bytes,
        transfer_bytes: case.transfer_bytes,
        calls: calls(known),
        crossings: crossings(known),
        context_switches: Figure::count(middle.sender.used.switches),
        sender_copies: fate.sender_copies,
        receiver_copies: fate.receiver_copies,
        by_reference_bytes: fate.by_reference_bytes,
        by_reference_inode: fate.inode,
        dma_copies: dma_copies(case, middle),
        minor_faults: Figure::count(middle.sender.used.minor_faults),
        major_faults: Figure::count(middle.sender.used.major_faults),
        mapped_pages: mapped(PAGE_BYTES),
        sender_cpu_s_per_gb: Figure::Measured(seconds(middle.sender.cpu_ns) / gb(case.bytes)),
        receiver_cpu_s_per_gb: receiver_cpu,
        gb_per_s: Spread::of(known.timed, throughput),
        peak_anonymous_bytes: peak.map_or_else(missing, |peak| Figure::count(peak.anonymous)),
        peak_file_mapped_bytes: mapped(1),
        besides: besides(known),
        verdict: fate.verdict,
        textbook: methods::book(case.method, case.pair, case.link, case.cache),
    }
}

fn fate(known: &Known<'_>) -> Fate {
    match (known.case.pair, known.seen) {
        (Pair::FileToFile, _) => by_extents::fate(known),
        (Pair::FileToPipe, _) => by_calls::of_pipes(known),
        (Pair::FileToTcp | Pair::SocketToSocket, Ok(seen)) => by_pages::of_packets(known, seen),
        (Pair::FileToUnix, Ok(seen)) => by_pages::of_receipts(known, seen),
        (_, Err(why)) => by_calls::of_sockets(known, why),
    }
}

fn besides(known: &Known<'_>) -> Besides {
    let why = known.seen.err().unwrap_or("");
    let not_watched = || Figure::Unavailable(why.to_owned());
    let copies = known.seen_discarding.map_or_else(not_watched, |seen| {
        Figure::Measured(float(seen.received_bytes()) / float(known.case.bytes))
    });
    Besides {
        watched_gb_per_s: known
            .watched
            .map_or_else(not_watched, |watched| Figure::Measured(throughput(watched))),
        unlike: unlike(known),
        softirq_s_per_gb: besides::softirq(known.timed, rustix::param::clock_ticks_per_second()),
        discarded: besides::discarded(known.discarding, copies),
    }
}

fn unlike(known: &Known<'_>) -> Option<String> {
    besides::unlike(known.watched?, known.timed)
}

/// What the probe counted, if its run was like the others.
fn counted<'k>(known: &Known<'k>) -> Option<&'k Seen> {
    known.seen.ok().filter(|_| unlike(known).is_none())
}

/// The calls that the engine counted in the bare run with the median throughput.
fn engines<'k>(known: &Known<'k>) -> &'k [(String, u64, u64)] {
    &median(known.timed, throughput).sender.by_method
}

/// Data-moving calls by kind: as they were seen, or as many as the engine counted.
fn calls(known: &Known<'_>) -> Vec<CallsOfKind> {
    let of_kind = |name: String, calls, bytes| CallsOfKind {
        name,
        calls: Figure::count(calls),
        bytes: Figure::count(bytes),
    };
    match counted(known) {
        Some(seen) => seen
            .calls
            .iter()
            .map(|(name, calls, bytes)| of_kind(name.clone(), *calls, *bytes))
            .collect(),
        None => {
            let name = names(known.case.method, known.seen.ok());
            let of_engine =
                |(_, bytes, calls): &(String, u64, u64)| of_kind(name.clone(), *calls, *bytes);
            engines(known).iter().map(of_engine).collect()
        }
    }
}

/// What the kernel calls the calls of a method: as it was seen to make them, or as they are
/// specified. The engine counts operations of io_uring, which are more than its calls.
fn names(method: Method, seen: Option<&Seen>) -> String {
    let specified = match method {
        Method::UringSendZc => return "IORING_OP_SEND_ZC".into(),
        Method::UringSplice => return "IORING_OP_SPLICE".into(),
        Method::Copy => "read + write",
        Method::MmapWrite => "write",
        Method::Sendfile => "sendfile",
        Method::Splice => "splice",
        Method::CopyFileRange => "copy_file_range",
        Method::Clone => "ioctl(FICLONERANGE)",
        Method::ZeroCopySend => "send(MSG_ZEROCOPY)",
        _ => "unnamed",
    };
    let seen = seen.into_iter().flat_map(|seen| seen.calls.iter().map(|(name, ..)| name.as_str()));
    // Completions of lent memory are calls too, which the engine does not count.
    let seen: Vec<&str> = seen.filter(|name| *name != "recvmsg").collect();
    if seen.is_empty() { specified.into() } else { seen.join(" + ") }
}

fn crossings(known: &Known<'_>) -> Figure {
    match counted(known) {
        Some(seen) => {
            let calls: u64 = seen.calls.iter().map(|(_, calls, _)| calls).sum();
            Figure::Derived {
                value: float(2 * (calls + seen.user_faults)),
                from: "2 x (data-moving system calls + page faults in user mode); interrupts are \
                       not counted",
            }
        }
        None => {
            let calls: u64 = engines(known).iter().map(|(.., calls)| calls).sum();
            Figure::Derived {
                value: float(2 * calls),
                from: "2 x data-moving calls that the engine counted; page faults and interrupts \
                       are not counted",
            }
        }
    }
}

fn dma_copies(case: &Case, run: &Run) -> Figure {
    let used = &run.sender.used;
    match (case.pair, used.disk_read_bytes, used.disk_write_bytes) {
        (Pair::FileToFile, Some(read), Some(written)) => Figure::Derived {
            value: float(read + written) / float(case.bytes),
            from: "(bytes the disk read for the sender + bytes it dirtied, which writeback will \
                   write) / payload",
        },
        (_, Some(read), _) => Figure::Derived {
            value: float(read) / float(case.bytes),
            from: "bytes the disk read for the sender / payload; no device copies on the way, \
                   which is in memory",
        },
        (_, None, _) => Figure::of_disk(None),
    }
}

/// 10^9 bytes a second, from the first call until the last byte was there.
pub(super) fn throughput(run: &Run) -> f64 {
    let ended = run.receiver.as_ref().map_or(run.sender.ended_ns, |receiver| receiver.ended_ns);
    let took = ended.saturating_sub(run.sender.began_ns).max(1);
    float(run.sender.bytes) / float(took)
}

/// How a method copies that cannot but copy.
struct Copying {
    /// Copies per byte.
    copies: f64,
    /// What that is derived from.
    from: &'static str,
    /// What it means.
    why: &'static str,
}

/// How a method copies, if its calls say so.
const fn copying(method: Method) -> Option<Copying> {
    match method {
        Method::Copy => Some(Copying {
            copies: 2.0,
            from: "read(2) and write(2) each copy what they return",
            why: "read(2) copies into the program's memory, and write(2) out of it",
        }),
        Method::MmapWrite => Some(Copying {
            copies: 1.0,
            from: "write(2) copies what it returns",
            why: "write(2) copies from the mapped pages",
        }),
        Method::Sendfile
        | Method::Splice
        | Method::CopyFileRange
        | Method::Clone
        | Method::ZeroCopySend
        | Method::UringSendZc
        | Method::UringSplice
        | _ => None,
    }
}

pub(super) fn seconds(ns: u64) -> f64 {
    float(ns) / 1e9
}

#[cfg(test)]
mod tests;
