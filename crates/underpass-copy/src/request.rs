//! What a user asks for, and which ends and flags do not go together.
//!
//! Everything that can be refused without looking at the ends is refused here, before anything is
//! opened.

use std::num::{NonZeroU32, NonZeroUsize};

use underpass::{Policy, Stability};
use underpass_client::{Client, Range, Timeouts};

use crate::digest::Algorithm;
use crate::endpoint::Endpoint;
use crate::error::{CopyError, Usage};
use crate::outlet;

/// What is to be copied, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where the bytes come from.
    pub source: Endpoint,
    /// Where they go.
    pub sink: Endpoint,
    /// Who chooses the method.
    pub policy: Policy,
    /// What to do about a source file that changes.
    pub stability: Stability,
    /// Which bytes of the source.
    pub range: Range,
    /// Continue what an earlier copy left, and keep what this one gets if it fails.
    pub resume: bool,
    /// At most this many bytes a second.
    pub limit_bytes_per_s: Option<u64>,
    /// A digest to report.
    pub checksum: Option<Algorithm>,
    /// End only when a file's bytes are on its disk.
    pub fsync: bool,
    /// Exchange length and digest with the `underpass` at the other end of a socket.
    pub verify: bool,
    /// How many connections move ranges of the file.
    pub parallel: NonZeroU32,
    /// Give a file its name only when it is whole.
    pub atomic: bool,
    /// Copy a folder with all that is in it.
    pub recursive: bool,
    /// With it, the extended attributes too.
    pub xattrs: bool,
    /// With it, owners and groups too, which takes CAP_CHOWN.
    pub owners: bool,
    /// How long an end may do nothing.
    pub timeouts: Timeouts,
    /// How servers are asked.
    pub client: Client,
    /// Copy for each peer that connects, by [`Session::serve`](crate::Session::serve).
    pub keep_listening: bool,
    /// The most peers at once.
    pub peers_max: Option<NonZeroUsize>,
}

impl Request {
    /// Everything of the source, atomically, by the engine's choice of method.
    #[must_use]
    pub fn new(source: Endpoint, sink: Endpoint) -> Self {
        Self {
            source,
            sink,
            policy: Policy::Auto,
            stability: Stability::default(),
            range: Range::Whole,
            resume: false,
            limit_bytes_per_s: None,
            checksum: None,
            fsync: false,
            verify: false,
            parallel: NonZeroU32::MIN,
            atomic: true,
            recursive: false,
            xattrs: false,
            owners: false,
            timeouts: Timeouts::default(),
            client: Client::default(),
            keep_listening: false,
            peers_max: None,
        }
    }
}

/// Refuses what cannot work, before anything is opened.
pub(crate) fn check(request: &Request) -> Result<(), CopyError> {
    let Request { source, sink, resume, range, .. } = request;
    let is_path = matches!(sink, Endpoint::Path(_));
    if *resume && !is_path {
        return Err(flag("--resume", sink, "only a file shows how much of it is there"));
    }
    let is_remote = sink.is_socket() || matches!(sink, Endpoint::Url(_));
    if request.fsync && is_remote {
        return Err(flag("--fsync", sink, "only a local file can be written to disk"));
    }
    check_ends(request)?;
    check_peers(request)?;
    let is_partial = *resume || *range != Range::Whole || request.checksum.is_some();
    if request.recursive
        && let Some(end) = [source, sink].into_iter().find(|end| !matches!(end, Endpoint::Path(_)))
    {
        return Err(CopyError::Usage(Usage::NotDirectory(end.to_string())));
    }
    if request.recursive && is_partial {
        let why = "ranges, resuming and digests are for one file";
        return Err(flag("-r", source, why));
    }
    let is_stream = source.is_socket();
    if is_stream && matches!(range, Range::Suffix(_)) {
        return Err(flag(
            "--range -COUNT",
            source,
            "a stream cannot be read from its end; name the first byte",
        ));
    }
    Ok(())
}

pub(crate) fn flag(flag: &'static str, end: &Endpoint, why: &'static str) -> CopyError {
    CopyError::Usage(Usage::Flag { flag, end: end.to_string(), why })
}

/// Whether the two ends are to agree on what was sent.
pub(crate) fn verifies(request: &Request) -> bool {
    let is_to_or_from_peer = request.source.is_socket() || request.sink.is_socket();
    request.verify || request.parallel.get() > 1 && is_to_or_from_peer
}

/// Whether each peer gets its own file in a directory.
pub(crate) fn is_numbered(request: &Request) -> bool {
    let Request { source, sink, keep_listening, .. } = request;
    let is_directory = matches!(sink, Endpoint::Path(path) if path.is_dir());
    *keep_listening && source.is_listening() && is_directory
}

/// Why this request serves one peer after the other; `None` if it can serve several at once.
pub(crate) fn one_at_a_time(request: &Request) -> Option<&'static str> {
    let Request { source, sink, .. } = request;
    if source.is_listening() && sink.is_listening() {
        return Some("both ends listen");
    }
    let other = if source.is_listening() { sink } else { source };
    match other {
        Endpoint::Path(path) if source.is_listening() => (!path.is_dir()).then_some(
            "a file has one writer at a time; give a directory, and each peer gets a file",
        ),
        Endpoint::Path(path) => outlet::is_special(path).then_some("it can be read only once"),
        Endpoint::Standard | Endpoint::Descriptor(_) => Some("a stream serves one peer at a time"),
        Endpoint::Url(_) if source.is_listening() => Some("a URL has one writer at a time"),
        Endpoint::Url(_)
        | Endpoint::Tcp(_)
        | Endpoint::Unix(_)
        | Endpoint::TcpListen(_)
        | Endpoint::UnixListen(_) => None,
    }
}

/// What --keep-listening requires of the ends.
fn check_peers(request: &Request) -> Result<(), CopyError> {
    let Request { source, sink, .. } = request;
    if is_numbered(request) && (request.resume || !request.atomic) {
        let why = "each peer gets a new file, which gets its name when it is whole";
        return Err(flag("--resume or --no-atomic", sink, why));
    }
    let is_several = request.peers_max.is_some_and(|most| most.get() > 1);
    match one_at_a_time(request) {
        Some(why) if request.keep_listening && is_several => {
            let end = if source.is_listening() { sink } else { source };
            Err(flag("--max-connections above 1", end, why))
        }
        Some(_) | None => Ok(()),
    }
}

/// What --verify and --parallel require of the ends.
fn check_ends(request: &Request) -> Result<(), CopyError> {
    let Request { source, sink, .. } = request;
    let is_fetch = matches!((source, sink), (Endpoint::Url(_), Endpoint::Path(_)));
    if request.parallel.get() > 1 && !is_fetch && source.is_socket() == sink.is_socket() {
        let why = "ranges come from a server (http:// or https://) into a file, or go between two \
                   underpass over sockets";
        return Err(flag("--parallel", source, why));
    }
    if !verifies(request) {
        return Ok(());
    }
    let flag = |why| Err(flag("--verify", sink, why));
    if source.is_socket() == sink.is_socket() {
        return flag("one end must be a socket, with underpass copy --verify at its other end");
    }
    if matches!(sink, Endpoint::Url(_)) {
        return flag("the other end can confirm only a transfer into a file or stream");
    }
    if request.checksum.is_some() || request.range != Range::Whole && source.is_socket() {
        return flag("the receiver always compares all the bytes sent, by BLAKE3");
    }
    Ok(())
}
