//! A file to the program's own eyes: read(2) into a buffer against reading through a mapping.
//!
//! Both ways load every word with the same loop, and both must come to the same answer, or there
//! is no report. The cost of the buffer, of mmap(2) and of munmap(2) is in the times. How many
//! faults a mapping takes depends on how the page cache was filled: a read from the disk may
//! leave large folios, which one fault maps, and an earlier write(2) small ones.
//!
//! Source: mmap(2), read(2), posix_fadvise(2) (`POSIX_FADV_DONTNEED`).

mod look;

use std::fs::File;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::cache::{self, PAGE_BYTES};
use crate::eyes::look::{Answer, Places};
use crate::figure::{Figure, Spread, float, gb, median};
use crate::terms::{Cache, named};
use crate::usage::{self, Peak, Resident, Used};

/// What was found of one file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Eyes {
    /// The file's name, as it was given.
    pub file: String,
    /// Bytes of it that were looked at, from its start.
    pub bytes: u64,
    /// Timed runs of each row; the figures are those of the run with the median throughput.
    pub repeats: u32,
    /// By cache state, task and order; of each, [`Way::Read`] before [`Way::Mapping`].
    pub rows: Vec<Look>,
    /// What each way takes, after looking at all of it.
    pub memory: Vec<Held>,
}

/// Memory of a program that has looked at the file, beyond what it had before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Held {
    pub way: Way,
    /// Memory that shows no file.
    pub anonymous_bytes: u64,
    /// Pages of the file in a mapping.
    pub mapped_bytes: u64,
    /// Pages of it in the page cache.
    pub cached_bytes: Figure,
}

/// One way of looking, at one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Look {
    pub way: Way,
    pub task: Task,
    pub order: Order,
    pub cache: Cache,
    pub bytes: u64,
    /// Pieces they were looked at in: one call of read(2) each, where it is read.
    pub pieces: u64,
    pub gb_per_s: Spread,
    pub piece_ns: Figure,
    pub cpu_s_per_gb: Figure,
    /// Faults that needed no disk.
    pub minor_faults: Figure,
    /// Faults that waited for one.
    pub major_faults: Figure,
    /// Bytes fetched from the disk, read-ahead included.
    pub disk_bytes: Figure,
}

named! {
    /// How the bytes come before the program's eyes.
    pub(crate) enum Way {
        /// read(2) into a buffer as large as what is looked at.
        Whole = "whole", "read whole";
        /// read(2) into a buffer, which is used again and again.
        Read = "read", "read";
        /// Loads from a mapping.
        Mapping = "mapping", "mapping";
    }
}

named! {
    /// What is done with the bytes.
    pub(crate) enum Task {
        /// Every word is added up: in sequence 64 KiB at a time, at random by pages.
        Sum = "sum", "sum";
        /// In sequence, every word is compared with one that is looked for; at random, single
        /// words are looked up, as an index does.
        Search = "search", "search";
    }
}

named! {
    /// In which order.
    pub(crate) enum Order {
        /// From the start to the end.
        Sequential = "sequential", "sequential";
        /// Every piece at a place that does not follow from the last.
        Random = "random", "random";
    }
}

/// What is to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Bytes of the file to look at, at most.
    pub bytes_max: u64,
    pub repeats: u32,
    /// Whether to look at the file with nothing of it in the page cache too.
    pub cold: bool,
}

impl Eyes {
    /// The rows of one task, read first, if it was measured.
    pub(crate) fn pair(&self, task: Task, order: Order, cache: Cache) -> Option<(&Look, &Look)> {
        let of = |way| {
            let is = |row: &&Look| {
                (row.way, row.task, row.order, row.cache) == (way, task, order, cache)
            };
            self.rows.iter().find(is)
        };
        of(Way::Read).zip(of(Way::Mapping))
    }
}

/// Every task in every order.
pub(crate) fn tasks() -> impl Iterator<Item = (Task, Order)> {
    Task::ALL.into_iter().flat_map(|task| Order::ALL.map(|order| (task, order)))
}

/// Looks at the file in every way. `progress` is told how many tasks of how many are done.
///
/// The file is read only; its pages are taken out of the page cache if [`Wanted::cold`] says so.
pub(crate) fn run(
    path: &Path,
    name: &str,
    wanted: &Wanted,
    progress: &mut dyn FnMut(usize, usize),
) -> io::Result<Eyes> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let bytes = size.min(wanted.bytes_max) / PAGE_BYTES * PAGE_BYTES;
    if bytes == 0 {
        let why = format!("it has {size} bytes: give a file of {PAGE_BYTES} at least");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let subject = Subject { file: &file, bytes, repeats: wanted.repeats.max(1) };
    let caches = if wanted.cold { &Cache::ALL[..] } else { &[Cache::Warm] };
    let looks = caches.iter().flat_map(|cache| tasks().map(|task| (task, *cache)));
    let looks: Vec<_> = looks.collect();
    let mut rows = Vec::new();
    for (done, ((task, order), cache)) in looks.iter().enumerate() {
        progress(done, looks.len());
        rows.extend(subject.look(*task, *order, *cache)?);
    }
    let memory = Way::ALL.map(|way| subject.held(way));
    let memory = memory.into_iter().collect::<io::Result<_>>()?;
    Ok(Eyes { file: name.to_owned(), bytes, repeats: subject.repeats, rows, memory })
}

struct Subject<'a> {
    file: &'a File,
    bytes: u64,
    repeats: u32,
}

impl Subject<'_> {
    /// Both ways, in turns, and the rows of both.
    fn look(&self, task: Task, order: Order, cache: Cache) -> io::Result<[Look; 2]> {
        let places = Places::new(task, order, cache, self.bytes);
        let ways = [Way::Read, Way::Mapping];
        let row = |way, runs| Look::of((way, task, order, cache), &places, runs);
        let mut runs = [Vec::new(), Vec::new()];
        let mut answer: Option<Answer> = None;
        for _ in 0..self.repeats {
            for (way, runs) in ways.into_iter().zip(&mut runs) {
                if let Err(why) = cache::bring(self.file, self.bytes, cache)? {
                    return Ok(ways.map(|way| row(way, Err(&why))));
                }
                let look = || look::at(self.file, way, &places, || Ok(()));
                let (found, spent): (Answer, Used) = usage::in_a_fresh_thread(look)?;
                if found.is_broken || answer.is_some_and(|answer| answer != found) {
                    return Err(io::Error::other("it changed while it was looked at"));
                }
                answer = Some(found);
                runs.push(spent);
            }
        }
        let [read, mapped] = &runs;
        Ok([row(Way::Read, Ok(read)), row(Way::Mapping, Ok(mapped))])
    }

    /// What looking at all of it takes, just before its end. Memory that was given back before
    /// may be given again, so a program's own does not always grow by all of its buffer: what
    /// was read into that is counted at least.
    fn held(&self, way: Way) -> io::Result<Held> {
        let filled = cache::fill(self.file, self.bytes)?;
        let mut places = Places::new(Task::Sum, Order::Sequential, Cache::Warm, self.bytes);
        if way == Way::Whole {
            places = Places::whole(self.bytes);
        }
        let mut peak = Peak::of(self.file)?;
        look::at(self.file, way, &places, || peak.look(0))?;
        let Resident { anonymous, file: mapped_bytes } = peak.most;
        let buffer = if way == Way::Mapping { 0 } else { places.piece_bytes() };
        let cached_bytes = match (filled, cache::pages(self.file, self.bytes)?) {
            (Ok(()), Some(pages)) => Figure::count(pages.cached * PAGE_BYTES),
            (Ok(()), None) => {
                let from = "all of it was read; the kernel does not tell what it keeps";
                Figure::Derived { value: float(self.bytes), from }
            }
            (Err(why), _) => Figure::Unavailable(why),
        };
        Ok(Held { way, anonymous_bytes: anonymous.max(buffer), mapped_bytes, cached_bytes })
    }
}

impl Look {
    /// Of its runs, or why there are none.
    fn of(
        (way, task, order, cache): (Way, Task, Order, Cache),
        places: &Places,
        runs: Result<&[Used], &str>,
    ) -> Self {
        let (bytes, pieces) = (places.bytes(), places.count());
        let speed = |used: &Used| gb(bytes) / used.elapsed.as_secs_f64().max(1e-9);
        let middle = runs.map(|runs| median(runs, speed));
        let of = |figure: &dyn Fn(&Used) -> Figure| match middle {
            Ok(used) => figure(used),
            Err(why) => Figure::Unavailable(why.to_owned()),
        };
        Self {
            way,
            task,
            order,
            cache,
            bytes,
            pieces,
            gb_per_s: runs.map_or_else(Spread::unavailable, |runs| Spread::of(runs, speed)),
            piece_ns: of(&|used| Figure::Derived {
                value: used.elapsed.as_secs_f64() * 1e9 / float(pieces),
                from: "time of the run / pieces",
            }),
            cpu_s_per_gb: of(&|used| Figure::Measured(used.cpu.as_secs_f64() / gb(bytes))),
            minor_faults: of(&|used| Figure::count(used.minor_faults)),
            major_faults: of(&|used| Figure::count(used.major_faults)),
            disk_bytes: of(&|used| Figure::of_disk(used.disk_read_bytes)),
        }
    }

    /// How many times as quick it was as the other way.
    pub(crate) fn times(&self, other: &Self) -> Figure {
        let speeds = self.gb_per_s.median.known().and_then(|own| {
            let other = other.gb_per_s.median.known()?;
            if other > 0.0 { Ok(own / other) } else { Err("nothing was read".to_owned()) }
        });
        let from = "GB/s through the mapping / GB/s by read(2)";
        speeds.map_or_else(Figure::Unavailable, |value| Figure::Derived { value, from })
    }
}

#[cfg(test)]
mod tests;
