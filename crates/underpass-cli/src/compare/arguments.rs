//! What was typed after `underpass compare`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use underpass::Method;
use underpass_measure::{Link, Pair, Tier};

use crate::explain::tier;
use crate::values::size;

/// Runs of a row beyond this show nothing new.
const REPEATS_MAX: u32 = 1000;

/// Compare every way of moving a file's bytes, measured on this machine.
///
/// Each method of the engine moves the same bytes in a separate process: from a file to a TCP
/// socket, a Unix socket, a pipe and a file, and from socket to socket. For each method the table
/// shows how often the processor copied every byte, which bytes went as references to the file's
/// pages and how that is known, what it cost and how fast it was, next to the textbook's figures.
/// It also shows the cost with a receiver that discards the bytes in the kernel (MSG_TRUNC), the
/// time spent in software interrupts, and what it costs a program to read the bytes itself, by
/// read(2) or through a mapping. A figure without a mark was measured; ~ means derived, ? not
/// available here.
///
/// Without FILE, a temporary file without a name is used. Nothing is left behind, however the run
/// ends.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CompareArguments {
    /// The file whose bytes are moved; it is only read.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Methods to compare, separated by commas [default: all].
    #[arg(long, value_name = "METHODS", value_delimiter = ',', value_parser = method(),
          default_values_t = Method::ALL.iter().copied(), hide_default_value = true)]
    pub(crate) methods: Vec<Method>,

    /// Pairs of ends to move bytes between, separated by commas [default: all].
    #[arg(long, value_name = "PAIRS", value_delimiter = ',', value_parser = ends(),
          default_values = ends_names(), hide_default_value = true)]
    pub(crate) pairs: Vec<Ends>,

    /// What TCP runs over: the loopback device, or a veth pair made for the run (needs root).
    #[arg(long, value_name = "LINKS", value_delimiter = ',', value_parser = link(),
          default_value = Link::Loopback.name())]
    pub(crate) over: Vec<Link>,

    /// Bytes to move in a run; at most this many of FILE.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub(crate) size: u64,

    /// Sizes of smaller transfers from file to TCP, separated by commas.
    #[arg(long, value_name = "SIZES", default_value = "4KiB,64KiB,1MiB", value_delimiter = ',',
          value_parser = size)]
    pub(crate) transfers: Vec<u64>,

    /// Timed runs of each row.
    #[arg(long, value_name = "N", default_value = "5", value_parser = repeats)]
    pub(crate) repeats: u32,

    /// Also measure with the file not in the page cache.
    #[arg(long)]
    pub(crate) cold: bool,

    /// Also check what textbooks say, sentence by sentence: is it true on this machine?
    ///
    /// Takes about 20 s more. Some checks need root: those with a control group, or with network
    /// devices with and without scatter-gather.
    #[arg(long)]
    pub(crate) claims: bool,

    /// Use no more than this tier: A (pages, by BPF) or C (counters of calls).
    #[arg(long, value_name = "TIER", default_value = "A", value_parser = tier)]
    pub(crate) tier: Tier,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Instead of text, write an HTML page with tables, plots and the path of a byte.
    #[cfg(feature = "html")]
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) html: Option<PathBuf>,
}

/// What bytes are moved between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Two descriptors.
    Pair(Pair),
    /// A file and the program's own memory.
    Eyes,
}

impl Ends {
    const EYES: &str = "file-eyes";

    const fn name(self) -> &'static str {
        match self {
            Self::Pair(pair) => pair.name(),
            Self::Eyes => Self::EYES,
        }
    }
}

const HELP: &str = "\
Examples:
  underpass compare
      Every method between every pair of ends, on a file made for the run.
  underpass compare big.iso --pairs file-tcp --cold
      Sends that file over TCP, from the page cache and from the disk.
  underpass compare --over veth,veth-no-sg --methods copy,sendfile
      Shows what a device without scatter-gather does to sendfile.
  underpass compare --cold --claims --html here.html
      Everything, as a page with plots.
  underpass compare --json > here.json
      For scripts: every figure with how it is known.

What it needs:
  Tier A sees pages and needs root, or CAP_BPF and CAP_PERFMON. Without them, or if BPF is locked,
  tier C knows of copies only where the calls themselves imply them. The table says which tier was
  used and what is not known.
  '--over veth' needs root, and the packages iproute2 and ethtool.";

fn method() -> impl TypedValueParser<Value = Method> {
    PossibleValuesParser::new(Method::ALL.iter().map(|it| it.name()))
        .try_map(|word| word.parse::<Method>())
}

fn all_ends() -> impl Iterator<Item = Ends> {
    Pair::ALL.into_iter().map(Ends::Pair).chain([Ends::Eyes])
}

fn ends_names() -> Vec<&'static str> {
    all_ends().map(Ends::name).collect()
}

fn ends() -> impl TypedValueParser<Value = Ends> {
    PossibleValuesParser::new(ends_names())
        .try_map(|word| all_ends().find(|ends| ends.name() == word).ok_or("not a pair of ends"))
}

fn link() -> impl TypedValueParser<Value = Link> {
    PossibleValuesParser::new(Link::ALL.map(Link::name))
        .try_map(|word| Link::ALL.into_iter().find(|link| link.name() == word).ok_or("not a link"))
}

fn repeats(text: &str) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count| (1..=REPEATS_MAX).contains(count));
    count.ok_or_else(|| format!("give a number from 1 to {REPEATS_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted_from_1_to_1000() {
        assert_eq!((repeats("1"), repeats("1000")), (Ok(1), Ok(1000)));
        for text in ["0", "1001", "x", ""] {
            assert_eq!(repeats(text).unwrap_err(), "give a number from 1 to 1000");
        }
    }
}
