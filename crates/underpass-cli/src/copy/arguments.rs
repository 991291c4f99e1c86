//! The flags of `underpass copy`.

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::os::fd::RawFd;

use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use underpass::{Method, Policy, Stability};
use underpass_copy::{Algorithm, Endpoint, Range, Request, Timeouts};

use super::servers::ServerArguments;
use crate::values::{OrOff, duration_or_off};

/// Copy bytes between files, streams, sockets and URLs.
///
/// Copies from any source to any sink. Wherever the kernel can, it moves the bytes without this
/// program's memory: reflinks and copy_file_range between files, keeping holes; sendfile from a
/// file; splice from sockets and pipes. A file gets its name only when it is whole. One line at the
/// end says how many bytes were copied, how fast, and by which method.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CopyArguments {
    /// Where the bytes come from; several go into a directory.
    #[arg(value_name = "SRC", required = true, num_args = 1.., value_parser = endpoint())]
    pub(crate) sources: Vec<Endpoint>,

    /// Where they go.
    ///
    /// A file that is there is replaced when the copy is whole, and keeps its mode, owner, group,
    /// ACL and extended attributes. Its other hard links keep the old content; symbolic links are
    /// followed. A new file gets the mode of SRC, less the umask.
    #[arg(value_name = "DST", value_parser = endpoint())]
    pub(crate) sink: Endpoint,

    /// Copy directories with all that is in them, and modes, ACLs, times, links and holes.
    ///
    /// Copies single files and links in the same way. A file system that cannot keep something of
    /// this gets the content, and a note says what is lost. Sockets get a name; devices are copied
    /// only with --owners. Set-user-ID bits are kept where owner and group are those of SRC.
    #[arg(long, short)]
    recursive: bool,

    /// With -r, also keep extended attributes.
    #[arg(long, requires = "recursive")]
    xattrs: bool,

    /// With -r, also keep owners and groups, and copy devices; usually only root can.
    #[arg(long, requires = "recursive")]
    owners: bool,

    /// Use only this method, and fail if it does not work.
    #[arg(long, value_name = "METHOD", value_parser = method(), conflicts_with = "prefer")]
    method: Option<Method>,

    /// Try this method first, then others.
    #[arg(long, value_name = "METHOD", value_parser = method())]
    prefer: Option<Method>,

    /// What to do about a source file that changes: none, guard, lease or copy.
    #[arg(
        long,
        value_name = "POLICY",
        default_value_t = Stability::default(),
        value_parser = stability()
    )]
    stability: Stability,

    /// Copy these bytes of the source: FIRST-LAST (both included), FIRST- or -COUNT.
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    range: Option<Range>,

    /// Continue where an earlier copy stopped; if this one fails, keep what arrived as DST.part.
    ///
    /// First compares what is there with the source. A file and a sender that verifies are compared
    /// whole. Of a server's file the last 64 KiB before each gap are compared, and its ETag or
    /// Last-Modified with the one stored in an extended attribute; a note says if these cannot
    /// identify the version. A stream cannot be compared: a note says so, and the copy continues.
    /// An extended attribute of DST.part lists what --parallel has left, even if the process was
    /// killed.
    #[arg(long)]
    resume: bool,

    /// Move at most RATE bytes a second, such as 500k, 10M or 1.5Gi.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit_rate: Option<u64>,

    /// Print a digest of the copied bytes: blake3 or sha256.
    #[arg(long, value_name = "ALGORITHM")]
    checksum: Option<Algorithm>,

    /// Move ranges of one file over N connections at once.
    ///
    /// Works from a server into a file, if the server supports ranges and sends a strong ETag or a
    /// Last-Modified that is at least a minute old. Also works from a file to underpass copy
    /// --verify at the other end of a socket, which confirms each range.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    parallel: u32,

    /// Exchange length and digest with underpass copy --verify at the other end of a socket.
    ///
    /// A transfer that was truncated or altered then fails at both ends, and the file gets no name.
    #[arg(long)]
    verify: bool,

    /// Finish only when the file's bytes and its name are on the disk.
    #[arg(long)]
    fsync: bool,

    /// Write to DST directly, so that it shows what has arrived so far.
    ///
    /// This keeps the hard links of DST, and works where DST cannot be replaced: it is a mount
    /// point, its directory is not writable, or there is no room for a second file.
    #[arg(long)]
    no_atomic: bool,

    /// How long an address may take to answer before the next one is tried, or 'off'.
    ///
    /// If a host has several addresses, the time is for each. 'off' leaves it to the kernel, which
    /// gives up after about two minutes. Looking up a name takes as long as the system's resolver
    /// allows. A TLS handshake may take the same time again, and so may the head of an answer from
    /// its first byte on; --idle-timeout limits how long a server may take to begin its answer.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration_or_off)]
    connect_timeout: OrOff,

    /// How long nothing may move before the copy fails, or 'off'.
    ///
    /// Off by default, because a stream may pause as long as its writer likes. With --resume, what
    /// has arrived is kept. Waiting for a peer to connect or for other peers to finish does not
    /// count, and neither do the pauses of --limit-rate.
    #[arg(long, value_name = "TIME", default_value = "off", value_parser = duration_or_off)]
    idle_timeout: OrOff,

    /// Copy for each peer that connects, until a signal; one end must listen.
    ///
    /// A file as SRC is sent whole to each peer, to several at once. If DST is a directory, each
    /// peer gets a new file in it: peer-1, peer-2 and so on; existing files are not replaced. A
    /// stream, a single file as DST, and two listening ends serve one peer after the other; peers
    /// that verify get a message that they have to wait.
    #[arg(long)]
    pub(crate) keep_listening: bool,

    /// Serve at most N peers at once [default: 64, or 1 if only one can be served at a time].
    ///
    /// Further peers wait. --limit-rate is for each peer.
    #[arg(long, value_name = "N", requires = "keep_listening")]
    max_connections: Option<NonZeroUsize>,

    /// Print what was done as JSON on standard output (on standard error if DST is -).
    #[arg(long)]
    pub(crate) json: bool,

    /// Print nothing but errors and notes of what could not be kept.
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    servers: ServerArguments,
}

const HELP: &str = "\
Ends:
  PATH                      a file, FIFO or device; a directory as DST
  -                         standard input or output
  fd:N                      a descriptor that is already open
  tcp://HOST:PORT           connects
  tcp-listen://ADDR:PORT    waits for a peer (a port alone means 127.0.0.1)
  unix://PATH, unix-listen://PATH
  http://..., https://...   GET as SRC, PUT as DST; TLS in the kernel if it can
                            (modprobe tls), in user space otherwise

http_proxy, https_proxy, all_proxy and no_proxy are obeyed (proxies of http:// only).

Examples:
  underpass copy big.iso /mnt/backup/
      Shares the extents if the file system can, and keeps holes.
  underpass copy tcp-listen://0.0.0.0:9000 big.iso
  underpass copy big.iso tcp://host:9000
      From one machine to another; nc or socat work at either end, too.
  underpass copy --keep-listening big.iso tcp-listen://0.0.0.0:9000
      Sends the file to everyone who connects.
  underpass copy --keep-listening tcp-listen://0.0.0.0:9000 inbox/
      Receives a file from everyone who connects.
  underpass copy --resume https://host/big.iso .
      Continues a download.
  underpass copy --range 0-1048575 /dev/sda - | sha256sum
      Reads the first MiB of a disk.

Exit codes: 0 all arrived (a note tells of modes, times and links that could not be kept);
1 something is missing, or could not be kept although --owners or --xattrs asked for it;
2 wrong usage; 129, 130 and 143 ended by SIGHUP, SIGINT and SIGTERM.";

impl CopyArguments {
    /// The request for the library.
    pub(crate) fn request(&self, source: &Endpoint) -> anyhow::Result<Request> {
        let mut request = Request::new(source.clone(), self.sink.clone());
        request.policy = match (self.method, self.prefer) {
            (Some(method), _) => Policy::Only(method),
            (None, Some(method)) => Policy::Prefer(method),
            (None, None) => Policy::Auto,
        };
        request.stability = self.stability;
        request.range = self.range.unwrap_or_default();
        request.resume = self.resume;
        request.limit_bytes_per_s = self.limit_rate;
        request.checksum = self.checksum;
        request.fsync = self.fsync;
        request.parallel = NonZeroU32::new(self.parallel).unwrap_or(NonZeroU32::MIN);
        request.verify = self.verify;
        request.atomic = !self.no_atomic;
        request.recursive = self.recursive;
        request.xattrs = self.xattrs;
        request.owners = self.owners;
        let (idle, connect) = (self.idle_timeout.0, self.connect_timeout.0);
        request.keep_listening = self.keep_listening;
        request.peers_max = self.max_connections;
        request.timeouts = Timeouts { idle, connect };
        request.client = self.servers.client()?;
        Ok(request)
    }

    /// Whether the copied bytes go to standard output.
    pub(crate) fn is_to_stdout(&self) -> bool {
        matches!(self.sink, Endpoint::Standard | Endpoint::Descriptor(1))
    }

    /// The number of an `fd:N` that is not open.
    pub(crate) fn closed_descriptor(&self) -> Option<RawFd> {
        self.sources.iter().chain([&self.sink]).find_map(Endpoint::closed_descriptor)
    }

    /// Whether an end listens.
    pub(crate) fn is_listening(&self) -> bool {
        self.sources.iter().chain([&self.sink]).any(Endpoint::is_listening)
    }
}

fn endpoint() -> impl TypedValueParser<Value = Endpoint> {
    OsStringValueParser::new().try_map(|word: OsString| Endpoint::parse(&word))
}

fn method() -> impl TypedValueParser<Value = Method> {
    PossibleValuesParser::new(Method::ALL.iter().map(|it| it.name()))
        .try_map(|word| word.parse::<Method>())
}

fn stability() -> impl TypedValueParser<Value = Stability> {
    PossibleValuesParser::new(Stability::ALL.iter().map(|it| it.name()))
        .try_map(|word| word.parse::<Stability>())
}

/// Bytes a second: a number, with k, M, G for powers of 1000 and Ki, Mi, Gi for powers of 1024.
fn rate(text: &str) -> Result<u64, String> {
    let wrong = || "give bytes a second, at least 1, such as 4096, 500k, 10M or 1.5Gi".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: f64 = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        _ => return Err(wrong()),
    };
    let bytes = number.parse::<f64>().map_err(|_| wrong())? * unit;
    if !(1.0..=1e15).contains(&bytes) {
        return Err(wrong());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 10^15")]
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_decimal_and_binary_units() {
        for (text, bytes) in [
            ("1", 1),
            ("4096", 4096),
            ("500k", 500_000),
            ("1.5Gi", 1_610_612_736),
            ("10M", 10_000_000),
        ] {
            assert_eq!(rate(text), Ok(bytes));
        }
        for text in ["", "0", "-1", "10 M", "1T", "1e3", "M", "."] {
            assert!(rate(text).unwrap_err().starts_with("give bytes a second"), "{text}");
        }
    }
}
