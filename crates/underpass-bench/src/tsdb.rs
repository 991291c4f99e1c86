//! `bench tsdb`: `underpass tsdb` and promtool on the same blocks, one core each.
//!
//! Each is a whole run of a program. Blocks are made by promtool and kept in the target directory;
//! the one of 57 GB is made here, of holes but for one series. promtool is that of Debian's newest
//! suite, and the oldest one that is common. What is printed is compared before it is timed.

mod reader;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use underpass_testkit::block::SparseBlock;
use underpass_testkit::prometheus::{Fixture, Suite, keep};

use super::cpu::Spent;
use super::report::{Better, Quantity};
use super::{Run, cpu, files, turns};
use reader::{Reader, Ready};
use underpass_testkit::process::output;

const TIME: Quantity = Quantity { name: "ms", better: Better::Less, decimals: 1 };
const USED: Quantity = Quantity { name: "CPU ms", better: Better::Less, decimals: 1 };

/// Anonymous memory that one series of a large block may take.
const ANONYMOUS_MAX: u64 = 20 << 20;

/// What is read.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Measure one part only.
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// Blocks that are made within a second.
    #[arg(skip)]
    is_small: bool,
}

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Every sample as text, to /dev/null and to a file.
    Dump,
    /// Cardinalities.
    Analyze,
    /// Every checksum.
    Verify,
    /// One series of a large block.
    One,
}

impl Options {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        Self { is_small: is_smoke, ..self }
    }

    fn has(&self, part: Part) -> bool {
        self.part.is_none_or(|only| only == part)
    }

    fn data(&self, fixture: Fixture) -> Result<PathBuf> {
        let fixture = if self.is_small { Fixture::Windows } else { fixture };
        fixture.data().map_err(|missing| anyhow!("{}", missing.why()))
    }
}

/// Fetches what has to come over a network, which a measuring run does not have.
pub(super) fn prepare() -> Result<()> {
    for suite in [Suite::Bookworm, Suite::Sid] {
        suite.tools().map_err(|missing| anyhow!("{}", missing.why()))?;
    }
    Ok(())
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    cpu::pin_here(cpu::ASKING)?;
    let scratch = files::scratch()?;
    let all = [
        (Part::Dump, dump as fn(&Options, &Path, &mut Run) -> Result<()>),
        (Part::Analyze, analyze),
        (Part::Verify, verify),
        (Part::One, one),
    ];
    for (_, part) in all.into_iter().filter(|(part, _)| options.has(*part)) {
        part(options, scratch.path(), run)?;
    }
    Ok(())
}

fn dump(options: &Options, scratch: &Path, run: &mut Run) -> Result<()> {
    let data = options.data(Fixture::FiveMillion)?;
    let readers = ready(run, &data, "dump", &[], &["dump"])?;
    let files = compared(&readers, scratch)?;
    let len = files.first().context("no reader")?.metadata()?.len();
    files.iter().try_for_each(std::fs::remove_file)?;
    let title = format!("dump of {} MB to /dev/null", len / 1_000_000);
    measure(run, "null", &title, &data, &readers, None)?;
    let title = format!("dump of {} MB to a file", len / 1_000_000);
    measure(run, "file", &title, &data, &readers, Some(&scratch.join("dump")))
}

fn analyze(options: &Options, _: &Path, run: &mut Run) -> Result<()> {
    let data = options.data(Fixture::ManySeries)?;
    let readers = ready(run, &data, "analyze", &[], &["analyze"])?;
    measure(run, "analyze", "analyze 200000 series", &data, &readers, None)
}

/// There is no peer: promtool has no such command.
fn verify(options: &Options, scratch: &Path, run: &mut Run) -> Result<()> {
    // A program that starts takes as long as a block of this size.
    let copies = if options.is_small { 1 } else { 10 };
    let data = copied(&options.data(Fixture::FiveMillion)?, &scratch.join("copies"), copies)?;
    let readers = ready(run, &data, "", &[], &["verify"])?;
    let bytes = files_below(&data)?.into_iter().map(|path| Ok(path.metadata()?.len()));
    let bytes = bytes.sum::<Result<u64>>()?;
    for round in 0..run.rounds {
        for reader in turns(&readers, round) {
            warm(run, &data, reader.name())?;
            let spent = spent(reader.command()?, Stdio::null())?;
            run.report.moved("verify", reader.name(), bytes, spent);
        }
    }
    let title = format!("verify {} MB", bytes / 1_000_000);
    run.report.table("verify", &title, &[super::report::PRICE, super::report::FLOW]);
    Ok(())
}

/// The blocks of `data`, each `copies` times, of which each has its name in its `meta.json`.
fn copied(data: &Path, into: &Path, copies: usize) -> Result<PathBuf> {
    for file in files_below(data)? {
        let within = file.strip_prefix(data)?;
        let mut parts = within.components();
        let block = parts.next().and_then(|name| name.as_os_str().to_str()).context("no block")?;
        for copy in 0..copies {
            let name = format!("{}{copy}", &block[..block.len() - 1]);
            let target = into.join(&name).join(parts.as_path());
            std::fs::create_dir_all(target.parent().context("no directory")?)?;
            if target.ends_with("meta.json") {
                std::fs::write(target, std::fs::read_to_string(&file)?.replace(block, &name))?;
            } else {
                std::fs::copy(&file, target)?;
            }
        }
    }
    Ok(into.to_owned())
}

fn one(options: &Options, scratch: &Path, run: &mut Run) -> Result<()> {
    let (name, block) = if options.is_small {
        ("sparse-small", SparseBlock { metrics: 30, instances: 50, chunks: 10 })
    } else {
        ("sparse-large", SparseBlock::LARGE)
    };
    let data = keep(name, |dir| block.write(&dir.join("01HF5GWQ00SPARSEBQ0CK00000")))?;
    let [metric, instance] = block.series();
    let selector = format!("--match={metric}{{instance=\"{instance}\"}}");
    let readers = ready(run, &data, "dump", &[&selector], &["dump", &selector])?;
    compared(&readers, scratch)?.iter().try_for_each(std::fs::remove_file)?;
    for reader in readers.iter().filter(|reader| reader.is_ours()) {
        reader.within(ANONYMOUS_MAX)?;
    }
    let title = format!("one series out of {} GB", block.chunk_bytes() / 1_000_000_000);
    measure(run, "one", &title, &data, &readers, None)
}

/// The readers of the data, the newest promtool first; it has no such command if that is empty.
fn ready(
    run: &Run,
    data: &Path,
    command: &str,
    arguments: &[&str],
    ours: &[&str],
) -> Result<Vec<Ready>> {
    let peers = [Reader::Promtool(Suite::Sid), Reader::Promtool(Suite::Bookworm)];
    let peers = peers.into_iter().filter(|_| !command.is_empty());
    let readers = run.field(peers.chain(Reader::by_pread()?), Reader::Underpass, Reader::name)?;
    readers.into_iter().map(|reader| reader.ready(data, command, arguments, ours)).collect()
}

/// What each prints, in a file; they are the same.
fn compared(readers: &[Ready], scratch: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for (place, reader) in readers.iter().enumerate() {
        let path = scratch.join(place.to_string());
        spent(reader.command()?, File::create(&path)?.into())?;
        ensure!(path.metadata()?.len() > 0, "{} prints nothing", reader.name());
        if let Some(first) = files.first() {
            output(Command::new("cmp").arg(first).arg(&path))
                .with_context(|| format!("{} prints something else", reader.name()))?;
        }
        files.push(path);
    }
    Ok(files)
}

fn measure(
    run: &mut Run,
    case: &str,
    title: &str,
    data: &Path,
    readers: &[Ready],
    to: Option<&Path>,
) -> Result<()> {
    for round in 0..run.rounds {
        for reader in turns(readers, round) {
            warm(run, data, reader.name())?;
            let stdout =
                to.map_or(Ok(Stdio::null()), |path| File::create(path).map(Stdio::from))?;
            let spent = spent(reader.command()?, stdout)?;
            run.report.sample(case, reader.name(), USED, spent.cpu.as_secs_f64() * 1e3);
            run.report.sample(case, reader.name(), TIME, spent.wall.as_secs_f64() * 1e3);
            if let Some(path) = to {
                std::fs::remove_file(path)?;
                // What was written is not written back while the next is measured.
                rustix::fs::sync();
            }
        }
    }
    run.report.table(case, title, &[USED, TIME]);
    Ok(())
}

fn spent(mut command: Command, stdout: Stdio) -> Result<Spent> {
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn()?;
    let cpu = cpu::end(child).with_context(|| format!("{command:?}"))?;
    Ok(Spent { cpu, wall: start.elapsed() })
}

/// Reads what of the blocks is not in the page cache; holes are not read.
fn warm(run: &mut Run, data: &Path, who: &str) -> Result<()> {
    for path in files_below(data)? {
        if path.metadata()?.len() < 500 << 20 {
            run.warm(&path, who)?;
        }
    }
    Ok(())
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}
