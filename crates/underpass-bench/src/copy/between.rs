//! A file to a file, by cp(1) with and without reflinks and by `underpass copy`.
//!
//! What a round's writing leaves to the disk is removed and synchronised before the next run. A
//! reflink takes a millisecond or two whatever the file's size, which is what it takes to start a
//! program; the file of 4 KiB shows how much of that each program is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use underpass_testkit::disk::{Disk, FileSystem};

use super::super::peers::Build;
use super::super::report::{Better, Quantity, Report};
use super::super::{Run, cpu, files, turns};

const TIME: Quantity = Quantity { name: "ms", better: Better::Less, decimals: 2 };
const USED: Quantity = Quantity { name: "CPU ms", better: Better::Less, decimals: 2 };

/// Where one case reads and writes.
struct Case {
    name: &'static str,
    title: &'static str,
    from: PathBuf,
    to: PathBuf,
    /// Holds a file system that is mounted for this case.
    _disk: Option<Disk>,
}

/// Who copies.
#[derive(Debug)]
enum Copier {
    Cp,
    CpWithoutReflinks,
    Underpass(Build),
}

impl Copier {
    fn name(&self) -> &'static str {
        match self {
            Self::Cp => "cp",
            Self::CpWithoutReflinks => "cp --reflink=never",
            Self::Underpass(build) => build.name,
        }
    }

    fn command(&self) -> Result<Command> {
        let mut command = match self {
            Self::Cp | Self::CpWithoutReflinks => cpu::pinned("cp")?,
            Self::Underpass(build) => build.command("copy")?,
        };
        match self {
            Self::Cp => {}
            Self::CpWithoutReflinks => drop(command.arg("--reflink=never")),
            Self::Underpass(_) => drop(command.arg("-q")),
        }
        Ok(command)
    }

    /// One run: how long it took, and the program's CPU time.
    fn copy(&self, case: &Case, is_verified: bool, report: &mut Report) -> Result<()> {
        let (mut command, Case { from, to, .. }) = (self.command()?, case);
        command.arg(from).arg(to);
        let start = Instant::now();
        let used = cpu::end(command.spawn()?)?;
        let took = start.elapsed();
        if is_verified {
            let same = Command::new("cmp").arg(from).arg(to).status()?;
            ensure!(same.success(), "{} made another file", self.name());
        }
        report.sample(case.name, self.name(), USED, used.as_secs_f64() * 1e3);
        report.sample(case.name, self.name(), TIME, took.as_secs_f64() * 1e3);
        std::fs::remove_file(to)?;
        // What was written is not written back while the next is measured.
        rustix::fs::sync();
        Ok(())
    }
}

/// Copies `path` within and between file systems.
pub(super) fn run(dir: &Path, path: &Path, run: &mut Run) -> Result<()> {
    let memory = tempfile::tempdir_in("/dev/shm").context("/dev/shm")?;
    let cases = cases(dir, path, memory.path(), &mut run.report)?;
    rustix::fs::sync();
    let copiers = [Copier::Cp, Copier::CpWithoutReflinks];
    let copiers = run.field(copiers, Copier::Underpass, Copier::name)?;
    for case in &cases {
        for round in 0..run.rounds {
            for copier in turns(&copiers, round) {
                run.warm(&case.from, copier.name())?;
                copier.copy(case, round == 0, &mut run.report)?;
            }
        }
        run.report.table(case.name, case.title, &[USED, TIME]);
    }
    Ok(())
}

fn cases(dir: &Path, path: &Path, memory: &Path, report: &mut Report) -> Result<Vec<Case>> {
    let (small, _) = files::patterned(dir, "small-file", 4096)?;
    let in_memory = memory.join("data");
    std::fs::copy(path, &in_memory)?;
    let case = |name, title, from: &Path, to: &Path| {
        let (from, to) = (from.to_owned(), to.join("copy"));
        Case { name, title, from, to, _disk: None }
    };
    let mut cases = vec![
        case("disk", "within the disk of the target", path, dir),
        case("memory", "within tmpfs", &in_memory, memory),
        case("across", "from that disk to tmpfs", path, memory),
        case("start", "4 KiB within that disk", &small, dir),
    ];
    for (kind, title) in
        [(FileSystem::Xfs, "within xfs, reflinks"), (FileSystem::Btrfs, "within btrfs, reflinks")]
    {
        // Two copies and what the file system keeps for itself.
        match Disk::new(kind, path.metadata()?.len() * 3 + (400 << 20)) {
            Ok(disk) => {
                let from = disk.path().join("data");
                std::fs::copy(path, &from)?;
                let to = disk.path().join("copy");
                cases.push(Case { name: kind.name(), title, from, to, _disk: Some(disk) });
            }
            Err(missing) => report.line(&format!("{} is left out: {missing:?}", kind.name())),
        }
    }
    Ok(cases)
}
