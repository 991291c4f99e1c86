//! Copies from the open source to the open sink, with holes, digests, and chunks for a PUT.
//!
//! A digest does not slow the bytes down where the file can be read separately: a file that was
//! written is read afterwards, from the page cache, and one that is sent by a second thread. Only a
//! stream that goes to a stream passes through memory for its digest.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::content::{Content, Destination, move_content};
use crate::digest::{self, Algorithm, Digest};
use crate::drive::{Drain, Drive, Feed, is_end};
use crate::endpoint::Endpoint;
use crate::holes;
use crate::http::{ChunkedWriter, Put};
use crate::inlet::{Inlet, Stream};
use crate::outlet::Outlet;
use crate::parallel;
use crate::pieces::Pieces;
use crate::request::Request;
use crate::stop::Stop;
use crate::waiting::WaitingStream;

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
    digest: Option<&mut Digest>,
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
    let before = drive.done;
    // A range that reaches past the end is cut there, of a stream as of a file.
    let mut may_end = false;
    let mut chunks;
    let content = match inlet {
        Inlet::File(file) => Content::Kernel(Feed::File {
            file: file.file.as_fd(),
            offset: file.start,
            len: file.len,
        }),
        Inlet::Stream(stream) => {
            let Some((skip, take)) = request.range.of_stream() else {
                let why = "a stream cannot be read from its end; name the first byte";
                let why = std::io::Error::new(std::io::ErrorKind::Unsupported, why);
                return Err(Stop::call("reading the source", why));
            };
            discard(drive, stream, skip)?;
            let fd = stream.fd.as_fd();
            match (take, &*outlet) {
                (Some(take), Outlet::Put(_)) => {
                    // The last chunk follows, wherever the stream ends.
                    chunks = WaitingStream::new(fd, drive.interrupt).take(take);
                    Content::Reader(&mut chunks, None)
                }
                _ => {
                    may_end = take.is_some();
                    Content::Kernel(Feed::Stream { fd, len: take })
                }
            }
        }
        Inlet::Http(body) => {
            if let (Endpoint::Url(url), Outlet::Target(target, at)) = (&request.source, &*outlet)
                && (request.parallel.get() > 1 || target.pieces().is_some())
            {
                if let (true, Some(len)) = (body.is_range, body.len()) {
                    let beginning = Pieces::beginning(*at, *at + len);
                    let pieces = target.pieces().unwrap_or(&beginning);
                    return parallel::fetch(request, drive, (url, body), (target.file(), pieces));
                }
                drive.note(format!("{url} has no ranges: using one connection"));
            }
            body.content()
        }
    };
    match copy_to(drive, content, outlet, digest) {
        Err(Stop::Engine(error)) if may_end && is_end(&error) => Ok(drive.done - before),
        moved => moved,
    }
}

impl Inlet<'_> {
    /// Bytes it will yield, if that is known.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::File(file) => Some(file.len),
            Self::Stream(_) => None,
            Self::Http(body) => body.len(),
        }
    }
}

fn copy_to(
    drive: &mut Drive<'_>,
    content: Content<'_>,
    outlet: &mut Outlet<'_>,
    digest: Option<&mut Digest>,
) -> Result<u64, Stop> {
    let drain = match outlet {
        Outlet::Target(target, at) => Drain::File { file: target.file().as_fd(), at: *at },
        Outlet::Open(file, at) => Drain::File { file: (*file).as_fd(), at: *at },
        Outlet::Stream(stream) => Drain::Stream(stream.fd.as_fd()),
        Outlet::Put(put) => return copy_to_server(drive, content, put, digest),
    };
    move_content(drive, content, Destination::Kernel(drain), digest)
}

fn copy_to_server(
    drive: &mut Drive<'_>,
    content: Content<'_>,
    put: &mut Put<'_>,
    digest: Option<&mut Digest>,
) -> Result<u64, Stop> {
    if put.is_chunked {
        let mut writer = ChunkedWriter(&mut put.connection);
        let moved = move_content(drive, content, Destination::Writer(&mut writer), digest)?;
        writer.finish().map_err(Stop::when("ending the content"))?;
        return Ok(moved);
    }
    move_content(drive, content, Destination::Kernel(Drain::Server(&put.connection)), digest)
}

/// Reads bytes from a stream and drops them.
fn discard(drive: &mut Drive<'_>, stream: &Stream, bytes: u64) -> Result<(), Stop> {
    if bytes == 0 {
        return Ok(());
    }
    let nowhere =
        File::options().write(true).open("/dev/null").map_err(Stop::when("opening /dev/null"))?;
    let feed = Feed::Stream { fd: stream.fd.as_fd(), len: Some(bytes) };
    let before = drive.done;
    let gone = drive.transfer(feed, Drain::Stream(nowhere.as_fd()));
    // None of it went to the sink.
    drive.done = before;
    gone.map(|_| ())
}
