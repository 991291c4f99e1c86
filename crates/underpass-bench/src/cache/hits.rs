//! What is in a cache next to the same file in a directory, sent by the same program.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use underpass_testkit::disk::Disk;
use underpass_testkit::origin::{Object, Origin};

use super::peers::Cache;
use super::put;
use crate::load::verify;
use crate::peers::{Build, NEW, Peer};
use crate::report::Report;
use crate::serve::{Case, Size};
use crate::{Run, files, turns};

/// The row of the program that has a directory.
const DIRECTORY: &str = "directory";

/// A piece of a file as it is written.
const PIECE: u64 = 1 << 20;

/// Runs this part.
pub(super) fn run(size: Size, run: &mut Run) -> Result<()> {
    let (dir, origin) = (files::scratch()?, Origin::start()?);
    let root = dir.path().join("root");
    std::fs::create_dir(&root)?;
    let build = Build::all(None)?.pop().context("no build of this workspace")?;
    let plain = Peer::Underpass(build.clone()).start(&root, dir.path())?;
    let scratch = dir.path().join("cache");
    std::fs::create_dir(&scratch)?;
    let cache = Cache::Underpass(build).start(origin.address(), &scratch)?;
    let servers = [(DIRECTORY, plain), (NEW, cache)];
    for case in [Case::Small, Case::Medium, Case::Large] {
        let (target, path) = (format!("/{}", case.name()), root.join(case.name()));
        let object = put(&origin, &target, case.len_bytes(size));
        write(&object, &path)?;
        for (_, server) in &servers {
            verify(server.address(), &target, &path)?;
        }
        let paths = [path, kept(&scratch, object.len())?];
        for (path, (who, _)) in paths.iter().zip(&servers) {
            read_back(path).with_context(|| format!("{} of {who}", path.display()))?;
        }
        let asked = origin.request_count();
        for round in 0..run.rounds {
            for (who, server) in turns(&servers, round) {
                for path in &paths {
                    run.warm(path, who)?;
                }
                case.measure(size, who, server, &mut run.report)?;
            }
        }
        told_if_asked(&mut run.report, case, origin.request_count() - asked);
        case.print(size, &[], &mut run.report);
    }
    Ok(())
}

/// The object as a file, written back, so that the kernel has nothing to do meanwhile.
fn write(object: &Object, path: &Path) -> Result<()> {
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    let mut at = 0;
    while at < object.len() {
        let end = object.len().min(at + PIECE);
        file.write_all(&object.bytes(at..end))?;
        at = end;
    }
    Ok(file.sync_all()?)
}

/// The file of what is in the cache: the only one of this length.
fn kept(dir: &Path, len: u64) -> Result<PathBuf> {
    find(dir, len)?.with_context(|| format!("{}: no file of {len} bytes", dir.display()))
}

fn find(dir: &Path, len: u64) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let (facts, path) = (entry.metadata()?, entry.path());
        let found = match facts.is_dir() {
            true => find(&path, len)?,
            false => (facts.len() == len).then_some(path),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Makes the page cache have the file as it is read from the disk. How it was written shows
/// otherwise: what a program copied in pieces of 1 MiB is in larger folios than what came over a
/// network, and a page of a larger folio costs less to send.
fn read_back(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    Disk::evict(&file)?;
    files::warm(path)?;
    Ok(())
}

/// An origin that is asked during the measurement makes it another one.
fn told_if_asked(report: &mut Report, case: Case, requests: usize) {
    if requests > 0 {
        report.line(&format!("{}: the origin was asked {requests} times meanwhile", case.name()));
    }
}
