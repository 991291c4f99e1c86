//! A comparison from end to end: one checked run of every row, then the timed ones, then those
//! that are watched, then the judgement.
//!
//! The probe is there for the watched runs alone, so that no timed run pays for it; that they are
//! like the timed ones is looked at, too. A row that cannot be run is reported with why; bytes
//! that arrive wrong end the comparison.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;

use underpass::Method;

use super::besides;
use super::crew::{Purpose, Run, Setting};
use super::failure::CompareError;
use super::judge::{self, Known};
use super::machine;
use super::network::{self, Network};
use super::plan::{self, Case, Wish};
use super::process::{Program, RunError};
use super::report::{Absent, Cache, Conditions, Link, Pair, Report, Row};
use super::seen::Seen;
use super::specimen::Specimen;
use crate::affinity::own_processors;
use crate::cache;
use crate::observe::{Observer, Tier};
use crate::probe::{Probe, Sight};
use crate::terms::ends;
use crate::words;

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

/// Times that a run is made again because the page cache did not stay as it was.
const RETRIES: u32 = 2;

/// Runs of a row whose receiver discards, at most.
const DISCARDING_MAX: u32 = 3;

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
    let rows: usize = groups.iter().map(Vec::len).sum();
    if rows == 0 && !request.pairs.is_empty() {
        return Err(CompareError::Nothing);
    }
    let mut networks = BTreeMap::from([(Link::Loopback, Network::loopback())]);
    for link in groups.iter().flatten().filter_map(|case| case.link) {
        if let Entry::Vacant(vacant) = networks.entry(link) {
            let made = Network::new(link);
            vacant.insert(made.map_err(|error| CompareError::Network(words::chain(&error)))?);
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
    let discards = groups.iter().flatten().filter(|case| case.may_discard()).count();
    let total = rows * (2 + repeats as usize) + discards * (1 + discarding(repeats) as usize);
    let bytes = request.bytes.min(specimen.bytes);
    let mut comparison = Comparison {
        setting,
        bytes,
        progress,
        done: 0,
        total,
        notes: Vec::new(),
        absent: Vec::new(),
    };
    if let (true, Some(name)) = (request.cold, in_memory) {
        comparison.note(format!("no row is cold: the file is on {name}, in memory"));
    }
    let mut measured = comparison.check(groups)?;
    for group in &mut measured {
        comparison.time(group, repeats)?;
        group.retain(|row| !row.timed.is_empty());
    }
    let mut measured: Vec<Measured> = measured.into_iter().flatten().collect();
    let Observer { probe, why, .. } = Observer::best(request.most, Sight::Everything, || true);
    if let Some(probe) = &probe {
        for row in &mut measured {
            comparison.watch(probe, row)?;
        }
        // What could be run before and not under the probe is absent.
        measured.retain(|row| row.watched.is_some());
    }
    let (tier, tier_reason) = match why {
        None => ('A', "calls and pages are watched in the kernel".to_owned()),
        Some(why) => ('C', format!("{why}; only a process's own counters are read")),
    };
    let rows = measured.iter().map(|row| row.judged(specimen.inode, &tier_reason)).collect();
    let conditions = comparison.conditions(repeats);
    let machine = machine::look(tier, tier_reason);
    Ok(Report { machine, conditions, rows, absent: comparison.absent })
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

/// Runs whose receiver discards are fewer: they are next to the others.
fn discarding(repeats: u32) -> u32 {
    repeats.min(DISCARDING_MAX)
}

/// A row that can be run, and its runs so far.
struct Measured {
    case: Case,
    checked: Run,
    timed: Vec<Run>,
    discarding: Vec<Run>,
    /// A run that was watched, and what was seen of it.
    watched: Option<(Run, Seen)>,
    seen_discarding: Option<Seen>,
}

impl Measured {
    /// The row; `not_seen` is why nothing was seen of it, if nothing was.
    fn judged(&self, inode: u64, not_seen: &str) -> Row {
        judge::row(&Known {
            case: &self.case,
            timed: &self.timed,
            checked: &self.checked,
            seen: self.watched.as_ref().map(|(_, seen)| seen).ok_or(not_seen),
            watched: self.watched.as_ref().map(|(run, _)| run),
            discarding: &self.discarding,
            seen_discarding: self.seen_discarding.as_ref(),
            inode,
        })
    }
}

/// What is under way.
struct Comparison<'c> {
    setting: Setting<'c>,
    /// Bytes of the file that are moved.
    bytes: u64,
    progress: &'c mut dyn FnMut(Progress<'_>),
    done: usize,
    total: usize,
    notes: Vec<String>,
    absent: Vec<Absent>,
}

impl Comparison<'_> {
    /// Runs each row once and compares the bytes.
    fn check(&mut self, groups: Vec<Vec<Case>>) -> Result<Vec<Vec<Measured>>, CompareError> {
        let mut measured = Vec::new();
        for group in groups {
            let mut of_group = Vec::new();
            for case in group {
                let run = self.one(&case, Purpose::Check, |_| Ok(()))?;
                of_group.extend(run.map(|checked| Measured {
                    case,
                    checked,
                    timed: Vec::new(),
                    discarding: Vec::new(),
                    watched: None,
                    seen_discarding: None,
                }));
            }
            measured.push(of_group);
        }
        Ok(measured)
    }

    /// Runs the rows of a group in turns; a row that was refused keeps no timed run.
    fn time(&mut self, group: &mut [Measured], repeats: u32) -> Result<(), CompareError> {
        let mut refused = vec![false; group.len()];
        for repeat in 0..repeats {
            for (row, is_refused) in group.iter_mut().zip(&mut refused) {
                if *is_refused {
                    continue;
                }
                match self.one(&row.case, Purpose::Time, |_| Ok(()))? {
                    Some(run) => row.timed.push(run),
                    None => {
                        *is_refused = true;
                        row.timed.clear();
                        continue;
                    }
                }
                if row.case.may_discard() && repeat < discarding(repeats) {
                    row.discarding.extend(self.one(&row.case, Purpose::Discard, |_| Ok(()))?);
                }
            }
        }
        Ok(())
    }

    /// Runs a row under the probe, again if it was unlike the timed runs.
    fn watch(&mut self, probe: &Probe, row: &mut Measured) -> Result<(), CompareError> {
        for _ in 0..=RETRIES {
            let watched = self.watched(probe, &row.case, Purpose::Watch)?;
            let is_like = |(run, _): &(Run, Seen)| besides::unlike(run, &row.timed).is_none();
            let is_enough = watched.as_ref().is_none_or(is_like);
            // One that is refused now does not take away what was seen before.
            row.watched = watched.or_else(|| row.watched.take());
            if is_enough {
                break;
            }
        }
        if !row.discarding.is_empty() {
            let watched = self.watched(probe, &row.case, Purpose::WatchDiscard)?;
            row.seen_discarding = watched.map(|(_, seen)| seen);
        }
        Ok(())
    }

    fn watched(
        &mut self,
        probe: &Probe,
        case: &Case,
        purpose: Purpose,
    ) -> Result<Option<(Run, Seen)>, CompareError> {
        let run =
            self.one(case, purpose, |process| probe.follow(process).map_err(io::Error::other))?;
        let Some(run) = run else { return Ok(None) };
        let failed = |source| CompareError::Run { label: label(case), source };
        let evidence = probe.evidence().map_err(|error| failed(io::Error::other(error)))?;
        if evidence.lost > 0 {
            self.note(format!("{} events were lost to the watcher", evidence.lost));
        }
        let seen = Seen::of(&evidence, &run);
        Ok(Some((run, seen)))
    }

    /// Makes one run, once more where the page cache did not stay as it was; `None` if the
    /// method cannot do this here.
    fn one(
        &mut self,
        case: &Case,
        purpose: Purpose,
        mut watch: impl FnMut(u32) -> io::Result<()>,
    ) -> Result<Option<Run>, CompareError> {
        let label = label(case);
        let done = self.done.min(self.total);
        (self.progress)(Progress { done, total: self.total, label: &label });
        self.done += 1;
        let failed = |source| CompareError::Run { label: label.clone(), source };
        let mut retries = 0;
        loop {
            let outcome = cache::bring(&self.setting.specimen.file, self.bytes, case.cache)
                .map_err(failed)?;
            let is_as_wanted = outcome.is_ok();
            if let Err(why) = outcome {
                let why = format!("the file was not {}: {why}", case.cache);
                if case.cache == Cache::Cold {
                    self.absent(case, why);
                    return Ok(None);
                }
                self.note(why);
            }
            let run = match self.setting.run(case, purpose, &mut watch) {
                Ok(run) => run,
                Err(RunError::Refused(why)) => {
                    self.absent(case, why);
                    return Ok(None);
                }
                Err(RunError::Failed(source)) => {
                    let left = self.setting.specimen.file.metadata().map_err(failed)?.len();
                    let wanted = self.bytes;
                    let is_shorter = left < wanted;
                    return Err(if is_shorter {
                        CompareError::Shortened { wanted, left }
                    } else {
                        failed(source)
                    });
                }
            };
            if !is_as_wanted || self.is_still_warm(case).map_err(failed)? {
                return Ok(Some(run));
            }
            if retries == RETRIES {
                self.note(format!("pages of the file were evicted while {label} ran"));
                return Ok(Some(run));
            }
            retries += 1;
        }
    }

    /// Enters a row that cannot be run, once.
    fn absent(&mut self, &Case { pair, link, method, .. }: &Case, why: String) {
        let absent = Absent { pair, link, method, why };
        if !self.absent.contains(&absent) {
            self.absent.push(absent);
        }
    }

    fn is_still_warm(&self, case: &Case) -> io::Result<bool> {
        let pages = cache::pages(&self.setting.specimen.file, self.bytes)?;
        let is_whole =
            pages.is_none_or(|pages| pages.cached >= self.bytes.div_ceil(cache::PAGE_BYTES));
        Ok(case.cache == Cache::Cold || is_whole)
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn conditions(&mut self, repeats: u32) -> Conditions {
        let Setting { specimen, .. } = self.setting;
        if self.bytes < specimen.bytes {
            let (some, all) = (self.bytes, specimen.bytes);
            self.note(format!("of the file's {all} bytes the first {some} were moved"));
        }
        if self.setting.sender_processor.is_none() {
            self.note("sender and receiver share the one processor there is".to_owned());
        }
        if cache::pages(&specimen.file, self.bytes).is_ok_and(|pages| pages.is_none()) {
            self.note(
                "the page cache cannot be looked at: cachestat(2) is of Linux 6.5".to_owned(),
            );
        }
        Conditions {
            file: specimen.name.clone(),
            inode: specimen.inode,
            file_system: specimen.file_system.clone(),
            file_bytes: specimen.bytes,
            repeats,
            congestion_control: self.setting.congestion_control.map_or_else(
                || machine::look('C', String::new()).default_congestion_control,
                ToOwned::to_owned,
            ),
            sender_processor: self.setting.sender_processor,
            receiver_processor: self.setting.receiver_processor,
            receiver_call_bytes: self.setting.receiver_call_bytes,
            notes: std::mem::take(&mut self.notes),
        }
    }
}

/// `file → TCP over loopback, warm: sendfile`.
fn label(case: &Case) -> String {
    format!("{}, {}: {}", ends(case.pair, case.link), case.cache, case.method)
}
