//! Copies from the open source to the open sink, with holes, digests, and chunks for a PUT.
//!
//! A digest does not slow the bytes down where the file can be read separately: a file that was
//! written is read afterwards, from the page cache, and one that is sent by a second thread. Only a
//! stream that goes to a stream passes through memory for its digest.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use underpass::{ErrorKind, Sink, Source};

use crate::asking::{self, Remote};
use crate::digest::{self, Algorithm, Digest};
use crate::drive::Drive;
use crate::endpoint::Endpoint;
use crate::holes;
use crate::inlet::Inlet;
use crate::memory::through_memory;
use crate::outlet::Outlet;
use crate::parallel;
use crate::pieces::Pieces;
use crate::request::Request;
use crate::stop::Stop;

/// Copies the bytes, and computes the digest that was asked for.
pub(crate) fn copy(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &mut Inlet<'_>,
    outlet: &mut Outlet<'_>,
    checksum: Option<Algorithm>,
) -> Result<u64, Stop> {
    let Some(algorithm) = checksum else {
        return copy_bytes(request, drive, inlet, outlet, None);
    };
    let interrupt = drive.interrupt;
    match (&*inlet, &*outlet) {
        (_, Outlet::Target(..) | Outlet::Open(..)) => {
            let moved = copy_bytes(request, drive, inlet, outlet, None)?;
            let (file, at, len) = match outlet {
                Outlet::Target(target, at) => {
                    let len = target.pieces().map_or(*at + moved, |pieces| pieces.total);
                    (target.file(), 0, len)
                }
                Outlet::Open(file, at) => (&*file, *at, moved),
                Outlet::Stream(_) | Outlet::Put(_) => unreachable!("matched above"),
            };
            let ended = || interrupt.signal().is_some();
            let checksum = digest::of_file(algorithm, file, at, len, &ended)
                .map_err(Stop::when("computing the digest"))?;
            drive.findings.checksum = Some(checksum);
            Ok(moved)
        }
        (Inlet::File(file), _) => {
            let (copy, start, len) = (file.file.try_clone(), file.start, file.len);
            let copy = copy.map_err(Stop::when("reading the source"))?;
            let is_over = AtomicBool::new(false);
            let (moved, checksum) = std::thread::scope(|scope| {
                let ended = || is_over.load(Ordering::Relaxed) || interrupt.signal().is_some();
                let digest =
                    scope.spawn(move || digest::of_file(algorithm, &copy, start, len, &ended));
                let moved = copy_bytes(request, drive, inlet, outlet, None);
                is_over.store(moved.is_err(), Ordering::Relaxed);
                (moved, digest.join().expect("a digest does not panic"))
            });
            let moved = moved?;
            let checksum = checksum.map_err(Stop::when("computing the digest"))?;
            drive.findings.checksum = Some(checksum);
            Ok(moved)
        }
        (Inlet::Stream(_) | Inlet::Http(_), _) => {
            let mut digest = Digest::new(algorithm);
            let moved = copy_bytes(request, drive, inlet, outlet, Some(&mut digest))?;
            drive.findings.checksum = Some(digest.finish());
            Ok(moved)
        }
    }
}

fn copy_bytes(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &mut Inlet<'_>,
    outlet: &mut Outlet<'_>,
    mut digest: Option<&mut Digest>,
) -> Result<u64, Stop> {
    let sink_file = match outlet {
        Outlet::Target(target, at) => Some((target.file(), *at)),
        Outlet::Open(file, at) => {
            let size = file.metadata().map_err(Stop::when("looking at the sink"))?;
            // Old bytes of the sink would show through a hole.
            (size.len() <= *at).then_some((&*file, *at))
        }
        Outlet::Stream(_) | Outlet::Put(_) => None,
    };
    if let (Inlet::File(from), Some(to)) = (&*inlet, sink_file) {
        let before = drive.done;
        drive.findings.holes = holes::copy(drive, (&from.file, from.start), to, from.len)?;
        return Ok(drive.done - before);
    }
    if let Some(moved) = fetch_ranges(request, drive, inlet, outlet)? {
        return Ok(moved);
    }
    let moved = match (&mut *inlet, &request.source) {
        (Inlet::Http(body), Endpoint::Url(url)) => {
            let remote = Remote { client: &request.client, url };
            asking::deliver(remote, drive, body, &mut |drive, body, after| {
                let source = body.source().filter(|_| digest.is_none());
                if let (Some(source), Some(sink)) = (source, outlet.sink(after)) {
                    return by_engine(drive, outlet, source, sink);
                }
                let (len, interrupt) = (body.remaining(), drive.interrupt);
                let mut sink = outlet.writer(after, interrupt);
                through_memory(drive, &mut body.counted(), len, &mut sink, digest.as_deref_mut())
            })?
        }
        _ => copy_stream(request, drive, inlet, outlet, digest)?,
    };
    if let Outlet::Put(put) = outlet {
        put.end_content().map_err(Stop::when("ending the content"))?;
    }
    Ok(moved)
}

/// Copies a stream, or a file to one.
fn copy_stream(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &mut Inlet<'_>,
    outlet: &mut Outlet<'_>,
    digest: Option<&mut Digest>,
) -> Result<u64, Stop> {
    let mut take = None;
    if let Inlet::Stream(_) = &*inlet {
        let (skip, most) = request.range.of_stream().ok_or_else(|| {
            let why = "a stream cannot be read from its end; name the first byte";
            Stop::call("reading the source", io::Error::new(io::ErrorKind::Unsupported, why))
        })?;
        discard(drive, inlet, skip)?;
        take = most;
    }
    if let (None, Some(sink), Some(source)) = (&digest, outlet.sink(0), inlet.source()?) {
        let source = match take {
            Some(take) => source.take(take),
            None => source,
        };
        let before = drive.done;
        return match by_engine(drive, outlet, source, sink) {
            Err(Stop::Engine(error)) if take.is_some() && is_end(&error) => Ok(drive.done - before),
            moved => moved,
        };
    }
    // A range that reaches past the end is cut there, of a stream as of a file.
    let (len, interrupt) = (inlet.len(), drive.interrupt);
    let mut reader = inlet.reader(interrupt).take(take.unwrap_or(u64::MAX));
    through_memory(drive, &mut reader, len, &mut outlet.writer(0, interrupt), digest)
}

fn by_engine(
    drive: &mut Drive<'_>,
    outlet: &Outlet<'_>,
    source: Source<'_>,
    sink: Sink<'_>,
) -> Result<u64, Stop> {
    match outlet {
        Outlet::Put(put) => drive.transfer_into(source, sink, &|_| put.connection.wait_for_room()),
        Outlet::Target(..) | Outlet::Open(..) | Outlet::Stream(_) => drive.transfer(source, sink),
    }
}

/// Gets a server's file over several connections, or what a file with gaps lacks of it; `None` if
/// one connection is enough, or all there can be.
fn fetch_ranges(
    request: &Request,
    drive: &mut Drive<'_>,
    inlet: &mut Inlet<'_>,
    outlet: &Outlet<'_>,
) -> Result<Option<u64>, Stop> {
    let (Inlet::Http(body), Endpoint::Url(url)) = (inlet, &request.source) else { return Ok(None) };
    let Outlet::Target(target, at) = outlet else { return Ok(None) };
    if request.parallel.get() == 1 && target.pieces().is_none() {
        return Ok(None);
    }
    if let (true, Some(len)) = (body.is_range, body.remaining()) {
        let beginning = Pieces::beginning(*at, *at + len);
        let pieces = target.pieces().unwrap_or(&beginning);
        return parallel::fetch(request, drive, (url, body), (target.file(), pieces)).map(Some);
    }
    if body.remaining() != Some(0) {
        drive.note(format!("{url} has no ranges: using one connection"));
    }
    Ok(None)
}

/// Reads bytes from a stream and drops them.
fn discard(drive: &mut Drive<'_>, inlet: &mut Inlet<'_>, bytes: u64) -> Result<(), Stop> {
    if bytes == 0 {
        return Ok(());
    }
    let nowhere = File::options().write(true).open("/dev/null");
    let mut nowhere = nowhere.map_err(Stop::when("opening /dev/null"))?;
    let before = drive.done;
    let gone = match inlet.source()? {
        Some(source) => drive.transfer(source.take(bytes), Sink::stream(&nowhere)),
        None => {
            let mut reader = inlet.reader(drive.interrupt);
            through_memory(drive, &mut reader, Some(bytes), &mut nowhere, None)
        }
    };
    // None of it went to the sink.
    drive.done = before;
    gone.map(|_| ())
}

/// Whether a stream only ended before the limit, and all it had has arrived.
fn is_end(error: &underpass::Error) -> bool {
    matches!(error.kind, ErrorKind::Truncated { .. }) && error.buffered == 0
}
