//! A comparison from end to end: one checked run of every row, then the timed ones, then those
//! that are watched, then the judgement.
//!
//! The probe is there for the watched runs alone, so that no timed run pays for it; that they are
//! like the timed ones is looked at, too. A row that cannot be run is reported with why; bytes
//! that arrive wrong end the comparison.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use underpass::Method;
use underpass_sys::cachestat;

use super::besides;
use super::crew::{Purpose, Run, Setting};
use super::failure::CompareError;
use super::judge::{self, Measured};
use super::machine;
use super::network::{self, Network};
use super::plan::{self, Case, Wish};
use super::process::{Program, RunError};
use super::report::{Absent, Cache, Conditions, Link, Pair, Report};
use super::seen::Seen;
use super::specimen::Specimen;
use crate::affinity::own_processors;
use crate::cache;
use crate::observe::{Observer, Tier};
use crate::probe::{Probe, Sight};
use crate::words::count;

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Request {
    /// Bytes of the file that are moved, 1 at least; all of a file that has fewer.
    pub bytes: u64,
    /// Between which ends; none for a report of the machine alone.
    pub pairs: Vec<Pair>,
    /// By which methods.
    pub methods: Vec<Method>,
    /// What TCP runs over, one after another.
    pub links: Vec<Link>,
    /// Whether rows with nothing in the page cache are measured too.
    pub cold: bool,
    /// Sizes of smaller transfers, in bytes, 1 at least: file to TCP is measured with these too.
    pub transfers: Vec<u64>,
    /// Timed runs of each row, 1 at least.
    pub repeats: u32,
    /// The tier of evidence that is used at most: A, or C as if no more were permitted.
    pub most: Tier,
    /// Whether what it costs a program to read the bytes itself is measured too.
    pub eyes: bool,
    /// Whether the sentences of textbooks are judged too.
    pub claims: bool,
    /// How this program is run again.
    pub program: Program,
}

/// How far a comparison has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'p> {
    /// Runs that are done.
    pub done: usize,
    /// Runs in all.
    pub total: usize,
    /// What is being run.
    pub label: &'p str,
}

/// Times that a run is made again because the page cache was not as wanted, or because it was
/// unlike others.
const RETRIES: u32 = 2;

/// The congestion control of every TCP socket. The kernel's default may pace (bbr), which on a
/// link in memory measures the pacing.
const CONGESTION_CONTROL: &str = "cubic";

/// Bytes the receiver asks for at a time.
const RECEIVER_CALL_BYTES: usize = 1 << 20;

/// Measures.
///
/// Takes a second or so for each of [`Request::repeats`] times 128 MiB and 20 rows. `progress` is
/// told before each run.
///
/// # Errors
///
/// [`CompareError`].
pub(crate) fn run(
    specimen: &Specimen,
    request: &Request,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Report, CompareError> {
    let in_memory = cache::file_system_in_memory(&specimen.file).ok().flatten();
    let groups = groups(request, specimen.bytes, request.cold && in_memory.is_none());
    if groups.is_empty() && !request.pairs.is_empty() {
        return Err(CompareError::Nothing);
    }
    let mut networks = BTreeMap::from([(Link::Loopback, Network::loopback())]);
    for link in groups.iter().flatten().filter_map(|case| case.link) {
        if let Entry::Vacant(vacant) = networks.entry(link) {
            vacant.insert(Network::new(link).map_err(CompareError::Network)?);
        }
    }
    let has_wanted = network::has_congestion_control(CONGESTION_CONTROL);
    let processors = own_processors();
    let setting = Setting {
        program: &request.program,
        specimen,
        networks: &networks,
        congestion_control: has_wanted.then_some(CONGESTION_CONTROL),
        sender_processor: processors.first().copied().filter(|_| processors.len() > 1),
        receiver_processor: processors.get(1).copied(),
        receiver_call_bytes: RECEIVER_CALL_BYTES,
    };
    let repeats = request.repeats.max(1);
    let runs = groups.iter().flatten().map(|case| 2 + case.repeats(repeats) as usize).sum();
    let mut comparison = Comparison {
        setting,
        bytes: request.bytes.min(specimen.bytes),
        repeats,
        progress,
        done: 0,
        total: runs,
        notes: Vec::new(),
        absent: Vec::new(),
        never: BTreeMap::new(),
        idle: 0,
    };
    if let (true, Some(name)) = (request.cold, in_memory) {
        comparison.note(format!("no row is cold: the file is on {name}, in memory"));
    }
    let mut measured = Vec::new();
    for group in comparison.check(groups)? {
        measured.extend(comparison.time(group)?);
    }
    let Observer { probe, why, .. } = Observer::best(request.most, Sight::Everything, || true);
    let (tier, tier_reason) = match why {
        None => ('A', "calls and pages are watched in the kernel".to_owned()),
        Some(why) => ('C', format!("{why}; only a process's own counters are read")),
    };
    if let Some(probe) = &probe {
        comparison.watch(probe, &mut measured)?;
    }
    for row in measured.iter_mut().filter(|_| probe.is_none()) {
        row.watched = Err(tier_reason.clone());
    }
    let machine = machine::look(tier, tier_reason);
    let conditions = comparison.conditions(&machine.default_congestion_control);
    Ok(Report { machine, conditions, rows: judge::rows(&measured), absent: comparison.absent })
}

fn groups(request: &Request, file_bytes: u64, cold: bool) -> Vec<Vec<Case>> {
    let bytes = request.bytes.max(1).min(file_bytes);
    let Request { pairs, methods, links, .. } = request;
    let wish = |cache, pairs, transfers| Wish { pairs, methods, links, cache, bytes, transfers };
    let mut groups = plan::groups(wish(Cache::Warm, pairs, &request.transfers));
    if cold {
        let from_files: Vec<Pair> =
            pairs.iter().copied().filter(|&pair| pair != Pair::SocketToSocket).collect();
        groups.extend(plan::groups(wish(Cache::Cold, &from_files, &[])));
    }
    groups
}

/// What is under way.
struct Comparison<'c> {
    setting: Setting<'c>,
    /// Bytes of the file that are moved.
    bytes: u64,
    repeats: u32,
    progress: &'c mut dyn FnMut(Progress<'_>),
    done: usize,
    total: usize,
    notes: Vec<String>,
    absent: Vec<Absent>,
    /// States into which the file cannot be brought, and why.
    never: BTreeMap<Cache, String>,
    /// How often a sender that has nothing to move enters the kernel.
    idle: u64,
}

impl Comparison<'_> {
    /// Runs each row once and compares the bytes.
    fn check(&mut self, groups: Vec<Vec<Case>>) -> Result<Vec<Vec<Measured>>, CompareError> {
        let mut measured = Vec::new();
        for group in groups {
            let mut of_group = Vec::new();
            for case in group {
                match self.one(&case, Purpose::Check, |_| Ok(()))? {
                    Ok(checked) => {
                        let (timed, watched) = (Vec::new(), Err(String::new()));
                        of_group.push(Measured { case, checked, timed, watched });
                    }
                    Err(why) => self.absent(&case, why),
                }
            }
            measured.push(of_group);
        }
        Ok(measured)
    }

    /// Runs the rows of a group in turns. One without a run that was as wanted is absent.
    fn time(&mut self, mut group: Vec<Measured>) -> Result<Vec<Measured>, CompareError> {
        let mut refusals = vec![None; group.len()];
        for repeat in 0..self.repeats {
            for (row, refusal) in group.iter_mut().zip(&mut refusals) {
                if repeat < row.case.repeats(self.repeats) {
                    match self.one(&row.case, Purpose::Time, |_| Ok(()))? {
                        Ok(run) => row.timed.push(run),
                        Err(why) => *refusal = Some(why),
                    }
                }
            }
        }
        for (row, why) in group.iter().zip(refusals).filter_map(|(row, why)| Some((row, why?))) {
            match row.timed.len() {
                0 => self.absent(&row.case, why),
                runs => {
                    let wanted = row.case.repeats(self.repeats);
                    self.note(format!("{}: {runs} of {wanted} runs; {why}", row.case.label()));
                }
            }
        }
        group.retain(|row| !row.timed.is_empty());
        Ok(group)
    }

    /// Runs each row under the probe, again if it was unlike the timed runs.
    fn watch(&mut self, probe: &Probe, measured: &mut [Measured]) -> Result<(), CompareError> {
        let (pair, link, cache, method) = (Pair::FileToPipe, None, Cache::Warm, Method::Copy);
        let (bytes, transfer_bytes, discards) = (0, 1, false);
        let nothing = Case { pair, link, cache, method, bytes, transfer_bytes, discards };
        self.idle = self.watched(probe, &nothing)?.map_or(0, |(_, seen)| seen.entries);
        for row in measured {
            for _ in 0..=RETRIES {
                let watched = self.watched(probe, &row.case)?;
                let is_refused = watched.is_err();
                row.see(watched);
                if is_refused || besides::unlike(row).is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn watched(
        &mut self,
        probe: &Probe,
        case: &Case,
    ) -> Result<Result<(Run, Seen), String>, CompareError> {
        let follow = |process| probe.follow(process).map_err(io::Error::other);
        let run = match self.one(case, Purpose::Watch, follow)? {
            Ok(run) => run,
            Err(why) => return Ok(Err(why)),
        };
        let evidence = probe.evidence().map_err(|error| CompareError::Run {
            label: case.label(),
            source: io::Error::other(error),
        })?;
        if evidence.lost > 0 {
            self.note(format!("{} events were lost to the watcher", evidence.lost));
        }
        let mut seen = Seen::of(&evidence, &run);
        seen.entries = seen.entries.saturating_sub(self.idle);
        Ok(Ok((run, seen)))
    }

    /// Makes one run, again where the page cache was not as wanted; or says why there is none.
    fn one(
        &mut self,
        case: &Case,
        purpose: Purpose,
        mut watch: impl FnMut(u32) -> io::Result<()>,
    ) -> Result<Result<Run, String>, CompareError> {
        let label = case.label();
        let done = self.done.min(self.total);
        (self.progress)(Progress { done, total: self.total, label: &label });
        self.done += 1;
        if let Some(why) = self.never.get(&case.cache) {
            return Ok(Err(why.clone()));
        }
        let failed = |source| CompareError::Run { label: label.clone(), source };
        let not_so = |why| format!("the file was not {}: {why}", case.cache);
        let (mut why, mut has_been) = (String::new(), false);
        for _ in 0..=RETRIES {
            let file = &self.setting.specimen.file;
            if let Err(refusal) = cache::bring(file, self.bytes, case.cache).map_err(failed)? {
                why = not_so(refusal);
                continue;
            }
            has_been = true;
            let run = match self.setting.run(case, purpose, &mut watch) {
                Ok(run) => run,
                Err(RunError::Refused(why)) => return Ok(Err(why)),
                Err(RunError::Failed(source)) => {
                    let left = self.setting.specimen.file.metadata().map_err(failed)?.len();
                    let wanted = self.bytes;
                    let is_shorter = left < wanted;
                    let shortened = CompareError::Shortened { wanted, left };
                    return Err(if is_shorter { shortened } else { failed(source) });
                }
            };
            match self.contradiction(case, &run).map_err(failed)? {
                None => return Ok(Ok(run)),
                Some(said) => why = not_so(said),
            }
        }
        if !has_been {
            self.never.insert(case.cache, why.clone());
        }
        Ok(Err(why))
    }

    /// What says that the file did not stay as it was brought, or never was so, if anything does.
    fn contradiction(&self, case: &Case, run: &Run) -> io::Result<Option<String>> {
        let wanted = self.bytes.div_ceil(cache::PAGE_BYTES);
        let pages = cache::pages(&self.setting.specimen.file, self.bytes)?;
        Ok(match (case.cache, pages, run.sender.used.disk_read_bytes) {
            (Cache::Warm, Some(pages), _) if pages.cached < wanted => {
                Some("pages of it were evicted while it was moved".to_owned())
            }
            // Where the kernel does not tell what it holds, the disk does.
            (Cache::Cold, None, Some(read)) if read < case.bytes / 10 * 9 => Some(format!(
                "of {} bytes the disk gave {} when they were moved",
                count(case.bytes),
                count(read)
            )),
            _ => None,
        })
    }

    /// Enters a row that cannot be run.
    fn absent(&mut self, case: &Case, why: String) {
        let &Case { pair, link, cache, method, transfer_bytes, discards, .. } = case;
        if discards {
            // What befell its twin, which is run first, is told already.
            let twin = (pair, link, cache, method, transfer_bytes);
            let is_twin =
                |it: &Absent| (it.pair, it.link, it.cache, it.method, it.transfer_bytes) == twin;
            if !self.absent.iter().any(is_twin) {
                self.note(format!("{}, a receiver that discards: {why}", case.label()));
            }
            return;
        }
        self.absent.push(Absent { pair, link, cache, method, transfer_bytes, why });
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn conditions(&mut self, default_congestion_control: &str) -> Conditions {
        let Setting { specimen, congestion_control, .. } = self.setting;
        if self.bytes < specimen.bytes {
            let (some, all) = (count(self.bytes), count(specimen.bytes));
            self.note(format!("of the file's {all} bytes the first {some} were moved"));
        }
        if self.setting.sender_processor.is_none() {
            self.note("sender and receiver share the one processor there is".to_owned());
        }
        if let Err(errno) = cachestat::pages(specimen.file.as_fd(), 0, 1) {
            let why = match errno {
                Errno::PERM => "the file is somebody else's".to_owned(),
                Errno::NOSYS => "cachestat(2) is of Linux 6.5".to_owned(),
                _ => errno.to_string(),
            };
            self.note(format!("the page cache cannot be looked at: {why}"));
        }
        Conditions {
            file: specimen.name.clone(),
            inode: specimen.inode,
            file_system: specimen.file_system.clone(),
            file_bytes: specimen.bytes,
            repeats: self.repeats,
            congestion_control: congestion_control.unwrap_or(default_congestion_control).to_owned(),
            sender_processor: self.setting.sender_processor,
            receiver_processor: self.setting.receiver_processor,
            receiver_call_bytes: self.setting.receiver_call_bytes,
            notes: std::mem::take(&mut self.notes),
        }
    }
}
