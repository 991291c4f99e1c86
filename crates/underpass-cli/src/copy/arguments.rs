//! The flags of `underpass copy`.

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::os::fd::RawFd;

use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use underpass::{Method, Policy, Stability};
use underpass_copy::{Algorithm, Endpoint, Range, Request, Timeouts};

use crate::values::{OrOff, duration_or_off};

/// Copy bytes between files, streams, sockets and URLs.
///
/// Any source to any sink, without a copy through this program's memory wherever the kernel can
/// do it: reflinks and copy_file_range between files, with their holes; sendfile from a file;
/// splice from sockets and pipes. A file gets its name when it is whole, and not before. One line
/// at the end says how many bytes went which way.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CopyArguments {
    /// Where the bytes come from.
    #[arg(value_name = "SRC", value_parser = endpoint())]
    source: Endpoint,

    /// Where they go.
    #[arg(value_name = "DST", value_parser = endpoint())]
    sink: Endpoint,

    /// Copy a folder with all that is in it: modes, times, links and holes are kept.
    #[arg(long, short)]
    recursive: bool,

    /// With -r, keep extended attributes too.
    #[arg(long, requires = "recursive")]
    xattrs: bool,

    /// With -r, keep owners and groups too, and with them set-user-ID bits; root may.
    #[arg(long, requires = "recursive")]
    owners: bool,

    /// Use this method, or fail.
    #[arg(long, value_name = "METHOD", value_parser = method(), conflicts_with = "prefer")]
    method: Option<Method>,

    /// Try this method first.
    #[arg(long, value_name = "METHOD", value_parser = method())]
    prefer: Option<Method>,

    /// What is done about a source file that changes: none, guard, lease or copy.
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

    /// Go on where an earlier copy stopped, and keep what arrives as DST.part if this one fails.
    ///
    /// What is there is compared with the source first: all of it with a file and with a sender
    /// that verifies, the last 64 KiB before each gap with a server, and its ETag or Last-Modified
    /// with the one that was kept in an extended attribute; it says so where they do not tell the
    /// version. A stream cannot be compared with; then it says so and goes on. What --parallel has
    /// left is known from an extended attribute of DST.part, also after the process was killed.
    #[arg(long)]
    resume: bool,

    /// Move at most so many bytes a second, such as 500k, 10M or 1.5Gi.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit_rate: Option<u64>,

    /// Print a digest of what was copied: blake3 or sha256.
    #[arg(long, value_name = "ALGORITHM")]
    checksum: Option<Algorithm>,

    /// Move ranges of one file over so many connections.
    ///
    /// From a server that gives ranges and a strong ETag, or a Last-Modified of a minute ago or
    /// more, into a file; or from a file to underpass copy --verify at the other end of a socket,
    /// which confirms each range.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    parallel: u32,

    /// Exchange length and digest with underpass copy --verify at the other end of a socket.
    ///
    /// A transfer that was cut or altered then fails at both ends, and gets no name.
    #[arg(long)]
    verify: bool,

    /// End only when the bytes of a file are on its disk, and its name too.
    #[arg(long)]
    fsync: bool,

    /// Write under the target's own name, which then shows what has arrived so far.
    #[arg(long)]
    no_atomic: bool,

    /// How long an address may take to answer before the next one is tried, or 'off'.
    ///
    /// Of a host with several addresses each has so long; 'off' leaves it to the kernel, which
    /// gives up after two minutes or so. A name server's answer is waited for as long as the
    /// system's resolver does. A TLS handshake may take as long again from its beginning to its
    /// end, and the head of an answer from its first byte on; how long the server may think before
    /// that is up to --idle-timeout.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration_or_off)]
    connect_timeout: OrOff,

    /// How long the ends may move nothing, or 'off', because a stream may pause for as long as
    /// its writer likes.
    ///
    /// What has arrived by then is kept with --resume. Waiting for a peer to connect, or for a turn
    /// behind others, does not count, nor does what --limit-rate holds back.
    #[arg(long, value_name = "TIME", default_value = "off", value_parser = duration_or_off)]
    idle_timeout: OrOff,

    /// Copy for each peer that comes, until a signal; an end must listen.
    ///
    /// A file as SRC goes whole to each, several at once. With a directory as DST each peer's
    /// bytes become a file of their own in it, peer-1, peer-2 and so on, and none that is there is
    /// replaced. What one at a time can read or write only (a stream, a single file as DST, both
    /// ends listening) is for one peer after the other; those who verify are told that they wait.
    #[arg(long)]
    pub(crate) keep_listening: bool,

    /// The most peers at a time [default: 64, or 1 where one at a time can be served only].
    ///
    /// Those past it wait to be accepted. --limit-rate is for each.
    #[arg(long, value_name = "N", requires = "keep_listening")]
    max_connections: Option<NonZeroUsize>,

    /// Print the account as JSON on standard output (on standard error if DST is -).
    #[arg(long)]
    pub(crate) json: bool,

    /// Print nothing but errors.
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

const HELP: &str = "\
Ends:
  PATH                      a file, FIFO or device; a directory as DST
  -                         standard input or output
  fd:N                      a descriptor that was open already
  tcp://HOST:PORT           connects
  tcp-listen://ADDR:PORT    waits for a peer (a port alone: of 127.0.0.1)
  unix://PATH, unix-listen://PATH
  http://..., https://...   GET as SRC, PUT as DST; TLS by the kernel where it
                            has it (modprobe tls), elsewhere in user space

Examples:
  underpass copy big.iso /mnt/backup/
      A copy that shares the extents where the file system can, and keeps holes.
  underpass copy tcp-listen://0.0.0.0:9000 big.iso
  underpass copy big.iso tcp://host:9000
      From one machine to another; nc, socat or Java at either end do as well.
  underpass copy --keep-listening big.iso tcp-listen://0.0.0.0:9000
      To everybody who asks, and --keep-listening tcp-listen://0.0.0.0:9000 inbox/ from everybody.
  underpass copy --resume https://host/big.iso .
      Go on with a download.
  underpass copy --range 0-1048575 /dev/sda - | sha256sum
      The first MiB of a disk.

Exit codes: 0 done; 1 failed; 2 wrong usage; 130 and 143 ended by SIGINT and SIGTERM.";

impl CopyArguments {
    /// What the library is asked for.
    pub(crate) fn request(&self) -> Request {
        let mut request = Request::new(self.source.clone(), self.sink.clone());
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
        request
    }

    /// Whether standard output is for the bytes themselves.
    pub(crate) fn is_to_stdout(&self) -> bool {
        matches!(self.sink, Endpoint::Standard | Endpoint::Descriptor(1))
    }

    /// An `fd:N` that there is nothing for.
    pub(crate) fn closed_descriptor(&self) -> Option<RawFd> {
        [&self.source, &self.sink].into_iter().find_map(Endpoint::closed_descriptor)
    }

    /// Whether an end listens.
    pub(crate) const fn is_listening(&self) -> bool {
        self.source.is_listening() || self.sink.is_listening()
    }
}

fn endpoint() -> impl TypedValueParser<Value = Endpoint> {
    OsStringValueParser::new().try_map(|word: OsString| Endpoint::parse(&word))
}

fn method() -> impl TypedValueParser<Value = Method> {
    PossibleValuesParser::new(Method::ALL.map(Method::name)).try_map(|word| word.parse::<Method>())
}

fn stability() -> impl TypedValueParser<Value = Stability> {
    PossibleValuesParser::new(Stability::ALL.map(Stability::name))
        .try_map(|word| word.parse::<Stability>())
}

/// Bytes a second: a number, with k, M, G for powers of 1000 and Ki, Mi, Gi for those of 1024.
fn rate(text: &str) -> Result<u64, String> {
    let wrong = || "give bytes a second from 1 on, such as 4096, 500k, 10M or 1.5Gi".to_owned();
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
