//! Data directories that promtool or a server has made, each made once.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::server::PrometheusServer;
use super::suite::{Suite, Tools, run};
use super::text::{self, Plan, write_open_metrics};
use super::{keep, kept, samples};
use crate::skip::Missing;
use crate::wait;

/// How long a server may take to write blocks by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Part of the names of the directories; to be raised when what is in them changes.
const VERSION: u32 = 2;

/// A data directory: blocks, and the empty `wal` without which promtool refuses to read them.
///
/// Times start at 1,699,999,200,000 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixture {
    /// Two blocks with every form of value and odd label values.
    Odd,
    /// Eleven blocks of two hours, 40 series each, a sample a minute.
    Windows,
    /// Two blocks of the same two hours. Half of the series are in both, and of these some
    /// samples have the same time, with the same value or another one.
    Overlapping,
    /// One block in which samples of some series are marked as deleted, of one series all.
    Deleted,
    /// Samples that came out of order, in a separate block for the same two hours as the rest.
    OutOfOrder,
    /// Native histograms: whole numbers, fractions, custom bounds; gauges, resets and
    /// stale markers; floats and histograms in one series; UTF-8 names.
    Histograms,
    /// One block of 5,000,000 samples in 20,000 series.
    FiveMillion,
    /// One block of 5,000,000 samples in 200,000 series.
    ManySeries,
}

impl Fixture {
    /// Those that are made within a few seconds.
    pub const SMALL: [Self; 6] = [
        Self::Odd,
        Self::Windows,
        Self::Overlapping,
        Self::Deleted,
        Self::OutOfOrder,
        Self::Histograms,
    ];

    /// The directory, which no test may change.
    ///
    /// # Errors
    ///
    /// [`Missing`] if there is no Prometheus and none can be fetched.
    ///
    /// # Panics
    ///
    /// If it cannot be made although Prometheus is there.
    pub fn data(self) -> Result<PathBuf, Missing> {
        let tools = self.suite().tools()?;
        let name = format!("{self:?}-{VERSION}").to_lowercase();
        let made = keep(&name, |dir| self.make(&tools, dir));
        Ok(made.unwrap_or_else(|error: io::Error| panic!("{self:?}: {error}")))
    }

    /// A copy that may be changed.
    ///
    /// # Errors
    ///
    /// As those of [`Fixture::data`].
    ///
    /// # Panics
    ///
    /// If it cannot be copied.
    pub fn copy(self) -> Result<tempfile::TempDir, Missing> {
        let (data, dir) = (self.data()?, scratch());
        copy_tree(&data, dir.path(), |from, to| fs::copy(from, to).map(drop))
            .unwrap_or_else(|error| panic!("{}: {error}", data.display()));
        Ok(dir)
    }

    fn suite(self) -> Suite {
        match self {
            Self::Histograms | Self::OutOfOrder => Suite::Sid,
            Self::Odd | Self::Windows | Self::Overlapping | Self::Deleted => Suite::Bookworm,
            Self::FiveMillion | Self::ManySeries => Suite::Bookworm,
        }
    }

    fn make(self, tools: &Tools, dir: &Path) -> io::Result<()> {
        match self {
            Self::Odd => tools.create_blocks(dir, text::odd().as_bytes())?,
            Self::Windows => {
                planned(tools, dir, Plan { metrics: 4, instances: 5, cores: 2, samples: 5_000 })?;
            }
            Self::Overlapping => {
                tools.create_blocks(dir, text::first_of_two().as_bytes())?;
                tools.create_blocks(dir, text::second_of_two().as_bytes())?;
            }
            Self::Deleted => deleted(tools, dir)?,
            Self::OutOfOrder => out_of_order(tools, dir)?,
            Self::Histograms => histograms(tools, dir)?,
            Self::FiveMillion => {
                planned(tools, dir, Plan { metrics: 20, instances: 50, cores: 20, samples: 250 })?;
            }
            Self::ManySeries => {
                planned(tools, dir, Plan { metrics: 20, instances: 500, cores: 20, samples: 25 })?;
            }
        }
        fs::create_dir_all(dir.join("wal"))
    }
}

impl Tools {
    /// Makes blocks of a text.
    ///
    /// # Errors
    ///
    /// Those of the tool, with its message.
    pub fn create_blocks(&self, data: &Path, text: &[u8]) -> io::Result<()> {
        let file = tempfile::NamedTempFile::new_in(kept())?;
        fs::write(file.path(), text)?;
        self.create_blocks_of(data, file.path())
    }

    fn create_blocks_of(&self, data: &Path, text: &Path) -> io::Result<()> {
        let mut command = Command::new(&self.promtool);
        command.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(text).arg(data);
        run(&mut command).map(drop)
    }

    /// A command of `promtool tsdb` on blocks that stay as they are. The tool writes into the
    /// data directory, so it gets one of links to the files.
    ///
    /// # Errors
    ///
    /// Those of making the links, which need the file system of the data.
    pub fn tsdb(&self, command: &str, data: &Path) -> io::Result<(Command, tempfile::TempDir)> {
        let dir = tempfile::tempdir_in(kept())?;
        copy_tree(data, dir.path(), |from, to| fs::hard_link(from, to))?;
        fs::create_dir_all(dir.path().join("wal"))?;
        let mut promtool = Command::new(&self.promtool);
        promtool.args(["tsdb", command]);
        // 2.42 has no such option; later ones would write below the current directory.
        if self.suite != Suite::Bookworm && command.starts_with("dump") {
            promtool.arg(format!("--sandbox-dir-root={}", dir.path().display()));
        }
        Ok((promtool, dir))
    }

    /// What `promtool tsdb dump` or `dump-openmetrics` prints, with these further arguments.
    ///
    /// # Errors
    ///
    /// As those of [`Tools::tsdb`]; `Other` with the tool's message.
    pub fn dump(&self, command: &str, data: &Path, arguments: &[&str]) -> io::Result<Vec<u8>> {
        let (mut promtool, dir) = self.tsdb(command, data)?;
        let output = promtool.args(arguments).arg(dir.path()).output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

fn planned(tools: &Tools, dir: &Path, plan: Plan) -> io::Result<()> {
    let file = tempfile::NamedTempFile::new_in(kept())?;
    let mut to = io::BufWriter::with_capacity(1 << 20, file.as_file());
    write_open_metrics(plan, &mut to)?;
    to.flush()?;
    tools.create_blocks_of(dir, file.path())
}

fn deleted(tools: &Tools, dir: &Path) -> io::Result<()> {
    planned(tools, dir, Plan { metrics: 2, instances: 4, cores: 1, samples: 400 })?;
    let server = PrometheusServer::start(tools, dir, "{}")?;
    let at = |sample: i64| samples::START_MS + sample * 15_000;
    server.delete(r#"{instance="host-000.example.org:9100"}"#, at(100), at(200))?;
    server.delete(
        r#"app_requests_00_total{instance="host-000.example.org:9100"}"#,
        at(150),
        at(259),
    )?;
    server.delete(r#"app_celsius_01{instance="host-001.example.org:9100"}"#, at(0), at(0))?;
    server.delete(r#"app_celsius_01{instance="host-001.example.org:9100"}"#, at(119), at(120))?;
    server.delete(r#"app_celsius_01{instance="host-002.example.org:9100"}"#, at(0), at(1000))?;
    server.stop()?;
    only_blocks(dir)
}

fn out_of_order(tools: &Tools, dir: &Path) -> io::Result<()> {
    let configuration = "storage: { tsdb: { out_of_order_time_window: 6h } }";
    let server = PrometheusServer::start(tools, dir, configuration)?;
    for part in samples::out_of_order() {
        server.write(&part)?;
    }
    let both = wait::until(PATIENCE, || (blocks(dir).len() == 2).then_some(()));
    both.ok_or_else(|| io::Error::other("the server has not written two blocks"))?;
    server.stop()?;
    only_blocks(dir)
}

fn histograms(tools: &Tools, dir: &Path) -> io::Result<()> {
    let data = tempfile::tempdir_in(kept())?;
    let server = PrometheusServer::start(tools, data.path(), "{}")?;
    for part in samples::histograms() {
        server.write(&part)?;
    }
    let snapshot = server.snapshot(data.path())?;
    server.stop()?;
    for block in blocks(&snapshot) {
        let name = block.file_name().unwrap_or_default();
        copy_tree(&block, &dir.join(name), |from, to| fs::copy(from, to).map(drop))?;
    }
    Ok(())
}

/// The directories that are whole blocks.
fn blocks(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| is_block(path)).collect()
}

/// While one is written its name has an extension.
fn is_block(path: &Path) -> bool {
    path.extension().is_none() && path.join("meta.json").exists() && path.join("index").exists()
}

/// Removes everything a server has left in the directory except the blocks.
fn only_blocks(data: &Path) -> io::Result<()> {
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        if !path.is_dir() {
            fs::remove_file(path)?;
        } else if !is_block(&path) {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn copy_tree(
    from: &Path,
    to: &Path,
    copy: impl Fn(&Path, &Path) -> io::Result<()> + Copy,
) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_tree(&path, &target, copy)?;
        } else {
            copy(&path, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_small_fixture_is_read_by_the_newest_promtool() {
        let tools = crate::require!(Suite::Sid.tools());
        for fixture in Fixture::SMALL {
            let data = crate::require!(fixture.data());
            let dump = tools.dump("dump", &data, &[]).unwrap();
            assert!(dump.len() > 10_000, "{fixture:?}: {} bytes", dump.len());
        }
    }

    #[test]
    fn samples_out_of_order_are_in_a_separate_block() {
        let data = crate::require!(Fixture::OutOfOrder.data());
        let metas = blocks(&data).into_iter().map(|dir| fs::read_to_string(dir.join("meta.json")));
        let hints = metas.filter(|meta| meta.as_ref().unwrap().contains("out-of-order"));
        assert_eq!((blocks(&data).len(), hints.count()), (2, 1));
    }

    #[test]
    fn what_was_deleted_is_in_a_tombstones_file() {
        let data = crate::require!(Fixture::Deleted.data());
        let tombstones = blocks(&data)[0].join("tombstones").metadata().unwrap().len();
        assert!(tombstones > 9, "{tombstones} bytes");
    }
}
