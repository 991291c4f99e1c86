//! A file to a file, by cp(1) with and without reflinks and by `underpass copy`.
//!
//! Neighbours in time are compared: what a round's writing leaves to the disk is removed and
//! synchronised before the next run, and the ratio is told round by round. A reflink takes a
//! millisecond or two whatever the file's size, which is what it takes to start a program; the
//! file of 4 KiB shows how much of that each program is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use underpass_testkit::disk::{Disk, FileSystem};

use super::super::report::{Better, PRICE, Quantity, Report};
use super::super::{cpu, files, peers};
use super::end;

const TIME: Quantity = Quantity { name: "ms", better: Better::Less, decimals: 2 };

const UNDERPASS: &str = "underpass copy";
const CP: &str = "cp";
const WHOS: [&str; 3] = [CP, "cp --reflink=never", UNDERPASS];

/// Where one case reads and writes.
struct Case {
    name: &'static str,
    title: &'static str,
    from: PathBuf,
    to: PathBuf,
    /// Holds a file system that is mounted for this case.
    _disk: Option<Disk>,
}

/// Copies `path` of `bytes` bytes within and between file systems.
pub(super) fn run(
    dir: &Path,
    path: &Path,
    bytes: u64,
    rounds: u32,
    out: &mut Report,
) -> Result<()> {
    let memory = tempfile::tempdir_in("/dev/shm").context("/dev/shm")?;
    let (small, _) = files::patterned(dir, "small-file", 4096)?;
    let in_memory = memory.path().join("data");
    std::fs::copy(path, &in_memory)?;
    let case = |name, title, from: &Path, to: &Path| {
        let (from, to) = (from.to_owned(), to.join("copy"));
        Case { name, title, from, to, _disk: None }
    };
    let mut cases = vec![
        case("disk", "within the disk of the target", path, dir),
        case("memory", "within tmpfs", &in_memory, memory.path()),
        case("across", "from that disk to tmpfs", path, memory.path()),
        case("start", "4 KiB within that disk", &small, dir),
    ];
    for (kind, title) in
        [(FileSystem::Xfs, "within xfs, reflinks"), (FileSystem::Btrfs, "within btrfs, reflinks")]
    {
        // Two copies and what the file system keeps for itself.
        match Disk::new(kind, bytes * 3 + (400 << 20)) {
            Ok(disk) => {
                let from = disk.path().join("data");
                std::fs::copy(path, &from)?;
                let to = disk.path().join("copy");
                cases.push(Case { name: kind.name(), title, from, to, _disk: Some(disk) });
            }
            Err(missing) => out.line(&format!("{} is left out: {missing:?}", kind.name())),
        }
    }
    rustix::fs::sync();
    for Case { name, from, to, .. } in &cases {
        for round in 0..rounds as usize {
            for i in 0..WHOS.len() {
                let Some(who) = WHOS.get((i + round) % WHOS.len()) else { continue };
                files::warm(from)?;
                copy(name, who, (from, to), round == 0, out)?;
            }
        }
    }
    for Case { name, title, .. } in &cases {
        out.line("");
        out.table(name, title, &WHOS, &[TIME, PRICE]);
        let [middle, least, greatest] = out.paired(name, TIME, [UNDERPASS, CP]);
        out.line(&format!(
            "  {UNDERPASS} takes {middle:.2} of cp's time, round by round ({least:.2} to \
             {greatest:.2})"
        ));
    }
    Ok(())
}

/// One run: how long it took, and the program's CPU time.
fn copy(
    case: &str,
    who: &str,
    (from, to): (&Path, &Path),
    is_verified: bool,
    out: &mut Report,
) -> Result<()> {
    let mut command = if who == UNDERPASS {
        let mut command = cpu::pinned(cpu::SERVING, peers::underpass()?)?;
        command.args(["copy", "-q"]);
        command
    } else {
        let mut command = cpu::pinned(cpu::SERVING, CP)?;
        command.args(who.split(' ').skip(1));
        command
    };
    command.arg(from).arg(to);
    let start = Instant::now();
    let used = end(command.spawn()?)?;
    let took = start.elapsed();
    if is_verified {
        let same = Command::new("cmp").arg(from).arg(to).status()?;
        ensure!(same.success(), "{who} made another file");
    }
    #[expect(clippy::cast_precision_loss, reason = "files of some GiB")]
    let gigabytes = from.metadata()?.len() as f64 / 1e9;
    out.sample(case, who, TIME, took.as_secs_f64() * 1e3);
    out.sample(case, who, PRICE, used.as_secs_f64() / gigabytes);
    std::fs::remove_file(to)?;
    // What was written is not written back while the next is measured.
    rustix::fs::sync();
    Ok(())
}
