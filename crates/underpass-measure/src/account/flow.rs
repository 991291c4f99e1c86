//! What came into a pipe, and into the memory of a process: followed back over pipes and processes
//! to the files that were read.
//!
//! Nothing is taken out of a pipe here: what one reader takes of it is a share of all that came
//! in, as it is with tee(2). Of a pipe that came short, and of what goes around in a circle, it is
//! not known what it was.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::apportion::apportion;
use super::context::Context;
use super::reading::Reader;
use super::tcp_inodes;
use crate::call::{self, Role};
use crate::evidence::{Calls, Evidence, FileId, FileKind, Memory};

/// What is read to see what a file is; more at a time is read to be sent.
const SNIFFED_BYTES_MAX: u64 = 4096;

/// What is read of a library's head, at most.
const HEAD_BYTES: u64 = 1024;

/// From here on a file is sent, and not one of those that a program reads of the system for itself.
const SYSTEM_BYTES_MAX: u64 = 1 << 20;

/// What bytes were before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A regular file.
    File(FileId),
    /// A socket.
    Socket,
    /// Memory of a process, of no file that is known.
    Memory,
    /// Memory of a process, which could not be looked at.
    NotSeen,
    /// A device.
    Device,
    /// A pipe that no watched process filled.
    Pipe,
}

/// Bytes of one source, and what became of them on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    pub(crate) source: Source,
    /// How often the processor copied them.
    pub(crate) copies: u8,
    /// Whether something else was written than had been read.
    pub(crate) is_transformed: bool,
}

/// Contents, and how many bytes of each.
pub(crate) type Contents = Vec<(Content, u64)>;

impl Content {
    pub(crate) const fn of(source: Source) -> Self {
        Self { source, copies: 0, is_transformed: false }
    }

    const fn copied(self, times: u8) -> Self {
        Self { copies: self.copies.saturating_add(times), ..self }
    }

    /// The file.
    pub(crate) const fn file(self) -> Option<FileId> {
        match self.source {
            Source::File(file) => Some(file),
            Source::Socket | Source::Memory | Source::NotSeen | Source::Device | Source::Pipe => {
                None
            }
        }
    }
}

/// The calls by what they reached, for there may be as many sockets as calls; and what followed
/// from them so far.
#[derive(Debug)]
pub(crate) struct Flows<'e> {
    evidence: &'e Evidence,
    context: &'e Context,
    pub(crate) to_sockets: HashMap<u64, Vec<&'e Calls>>,
    to_pipes: HashMap<FileId, Vec<&'e Calls>>,
    by_process: HashMap<u32, Vec<&'e Calls>>,
    /// Who takes out of a pipe, or passes on what is in it.
    out_of_pipes: HashSet<(FileId, u32)>,
    tcp: HashSet<u64>,
    programs: BTreeSet<FileId>,
    pipes: HashMap<FileId, Contents>,
    readers: BTreeMap<u32, Reader>,
}

impl<'e> Flows<'e> {
    pub(crate) fn of(evidence: &'e Evidence, context: &'e Context) -> Self {
        let programs = evidence.mapped.iter().filter(|mapped| mapped.is_program);
        let programs = programs.map(|mapped| mapped.file);
        let mut flows = Self {
            evidence,
            context,
            to_sockets: HashMap::new(),
            to_pipes: HashMap::new(),
            by_process: HashMap::new(),
            out_of_pipes: HashSet::new(),
            tcp: tcp_inodes(evidence),
            programs: programs.chain(context.program_files.iter().copied()).collect(),
            pipes: HashMap::new(),
            readers: BTreeMap::new(),
        };
        for row in &evidence.calls {
            flows.by_process.entry(row.process).or_default().push(row);
            match row.target {
                Some(id) if id.kind == FileKind::Socket => {
                    flows.to_sockets.entry(id.inode).or_default().push(row);
                }
                Some(id) if id.kind == FileKind::Pipe => {
                    flows.to_pipes.entry(id).or_default().push(row);
                }
                Some(_) | None => {}
            }
            if let Some(pipe) = row.source.filter(|id| id.kind == FileKind::Pipe) {
                flows.out_of_pipes.insert((pipe, row.process));
            }
        }
        flows
    }

    /// The file whose mapping was given; constants of a program are in a file, too, and are its
    /// own memory.
    pub(crate) fn mapped(&self, row: &Calls) -> Option<FileId> {
        let Memory::File(file) = row.memory else { return None };
        (!self.programs.contains(&file)).then_some(file)
    }

    /// What a call that passes bytes took them from.
    pub(crate) fn passed(&mut self, row: &Calls) -> Contents {
        let source = match row.source {
            Some(pipe) if pipe.kind == FileKind::Pipe => return self.drawn(pipe, row.bytes),
            Some(id) if id.kind == FileKind::Regular => Source::File(id),
            Some(id) if id.kind == FileKind::Socket => Source::Socket,
            Some(_) => Source::Device,
            // vmsplice(2) lends it.
            None => self.mapped(row).map_or(Source::Memory, Source::File),
        };
        vec![(Content::of(source), row.bytes)]
    }

    /// What was taken out of a pipe.
    fn drawn(&mut self, pipe: FileId, bytes: u64) -> Contents {
        let mut contents = self.pipe(pipe);
        let weights: Vec<u64> = contents.iter().map(|(_, bytes)| *bytes).collect();
        let there: u64 = weights.iter().sum();
        // In a rest it may have been filled, too, and with the same.
        let is_enough = there > 0 && self.evidence.has_gaps;
        let known = if is_enough { bytes } else { bytes.min(there) };
        for (content, share) in contents.iter_mut().zip(apportion(known, &weights)) {
            content.1 = share;
        }
        contents.push((Content::of(Source::Pipe), bytes - known));
        contents.retain(|(_, bytes)| *bytes > 0);
        contents
    }

    /// All that came into a pipe.
    fn pipe(&mut self, pipe: FileId) -> Contents {
        if let Some(known) = self.pipes.get(&pipe) {
            return known.clone();
        }
        // What goes around in a circle finds nothing.
        self.pipes.insert(pipe, Vec::new());
        let mut contents: BTreeMap<Content, u64> = BTreeMap::new();
        for row in self.to_pipes.get(&pipe).cloned().unwrap_or_default() {
            let put = match call::role(row.number) {
                Some(Role::Pass) => self.passed(row),
                Some(Role::Give) => self.given(row),
                Some(Role::Take | Role::Unmeasured) | None => Vec::new(),
            };
            for (content, bytes) in put {
                *contents.entry(content).or_default() += bytes;
            }
        }
        let contents: Contents = contents.into_iter().collect();
        self.pipes.insert(pipe, contents.clone());
        contents
    }

    /// What a process wrote into a pipe.
    fn given(&mut self, row: &Calls) -> Contents {
        if let Some(file) = self.mapped(row) {
            return vec![(Content::of(Source::File(file)).copied(1), row.bytes)];
        }
        let leads_on = row.target.is_some_and(|pipe| self.leads_on(row.process, pipe));
        let reader = if leads_on { self.reader(row.process) } else { Reader::default() };
        let mut contents = reader.contents_of(row.bytes);
        let known: u64 = contents.iter().map(|(_, bytes)| *bytes).sum();
        for (content, _) in &mut contents {
            // Read, and written.
            *content = content.copied(2);
            content.is_transformed |= reader.is_transforming();
        }
        contents.push((Content::of(Source::Memory).copied(1), row.bytes - known));
        contents
    }

    /// Bytes of those read of a file that may have been sent. One that is also passed is read for
    /// its beginning, to see what it is: this is sent only where that much was not passed.
    fn sent_of_read(&self, process: u32, file: FileId, read: u64) -> u64 {
        let rows = || self.by_process.get(&process).into_iter().flatten();
        let of_file = |is: Role| {
            rows().filter(move |row| row.source == Some(file) && call::role(row.number) == Some(is))
        };
        let passed: u64 = of_file(Role::Pass).map(|row| row.bytes).sum();
        let calls: u64 = of_file(Role::Take).map(|row| row.calls - row.failures).sum();
        let size = self.context.sizes.get(&file).copied().unwrap_or(0);
        let piece = read.checked_div(calls).unwrap_or(0);
        if passed == 0 || piece > SNIFFED_BYTES_MAX || piece >= size {
            return read;
        }
        match (passed % size, passed % (size - piece)) {
            (0, _) => 0,
            (_, 0) => read.min(passed / (size - piece) * piece),
            _ => read,
        }
    }

    /// Files that a process mapped and may have sent.
    fn mapped_files(&self, process: u32) -> BTreeSet<FileId> {
        let mapped = self.evidence.mapped.iter().filter(|mapped| mapped.process == process);
        let earlier = self.context.programs.get(&process).into_iter();
        let earlier = earlier.flat_map(|program| &program.mappings).map(|mapping| mapping.file);
        let all = mapped.map(|mapped| mapped.file).chain(earlier);
        all.filter(|file| !self.programs.contains(file) && !self.context.is_of_system(*file))
            .collect()
    }

    /// What a process read, and what it gave from memory that is not a mapping.
    pub(crate) fn reader(&mut self, process: u32) -> Reader {
        if let Some(known) = self.readers.get(&process) {
            return known.clone();
        }
        self.readers.insert(process, Reader::default());
        let mut reader = Reader::default();
        let mut sockets = HashSet::new();
        for row in self.by_process.get(&process).cloned().unwrap_or_default() {
            match (call::role(row.number), row.source, row.target) {
                (Some(Role::Take), Some(source), _) => self.take(row, source, &mut reader),
                (Some(Role::Give), _, Some(target)) if self.mapped(row).is_none() => {
                    if target.kind == FileKind::Socket && self.tcp.contains(&target.inode) {
                        reader.given_bytes += row.bytes;
                        sockets.insert(target.inode);
                    } else if self.leads_on(process, target) {
                        reader.given_bytes += row.bytes;
                    }
                }
                _ => {}
            }
        }
        reader.connections = sockets.len() as u64;
        reader.mapped = self.mapped_files(process);
        for (content, read) in &mut reader.files {
            if let (Source::File(file), 0) = (content.source, content.copies) {
                *read = self.sent_of_read(process, file, *read);
            }
        }
        // What is read again when it sends was not read to know how; nor by one that never sends,
        // if it gave no more to pipes than this.
        let read = reader.read_bytes() + reader.before.values().sum::<u64>();
        let is_filter = sockets.is_empty() && read >= reader.given_bytes / 2;
        let files = &mut reader.files;
        reader.before.retain(|content, bytes| {
            let is_of_system = content.file().is_some_and(|file| self.context.is_of_system(file));
            let is_sent = files.contains_key(content) || is_filter && !is_of_system;
            if is_sent {
                *files.entry(*content).or_default() += *bytes;
            }
            !is_sent
        });
        self.readers.insert(process, reader.clone());
        reader
    }

    /// Whether what a process gave is taken out of a pipe by another that is watched. What it gives
    /// to itself is not followed.
    fn leads_on(&self, process: u32, pipe: FileId) -> bool {
        let mut out = self.out_of_pipes.iter().filter(|(of, _)| *of == pipe);
        pipe.kind == FileKind::Pipe && out.any(|(_, taker)| *taker != process)
    }

    /// What a call took into memory.
    fn take(&mut self, row: &Calls, source: FileId, reader: &mut Reader) {
        // The loader looks at the head of each library before it maps it.
        let is_loading =
            self.programs.contains(&source) && row.bytes <= row.calls.saturating_mul(HEAD_BYTES);
        if source.kind == FileKind::Socket {
            reader.received_bytes += row.bytes;
            reader.received_calls += row.calls - row.failures;
        } else if source.kind == FileKind::Pipe {
            for (content, bytes) in self.drawn(source, row.bytes) {
                match content.source {
                    Source::File(_) => reader.note(content, row.before_sending, bytes),
                    Source::Pipe => reader.piped_bytes += bytes,
                    Source::Socket | Source::Memory | Source::NotSeen | Source::Device => {}
                }
            }
        } else if source.kind == FileKind::Regular
            && !is_loading
            && !self.context.is_made_up(source)
        {
            let is_of_system = self.context.is_of_system(source) && row.bytes < SYSTEM_BYTES_MAX;
            let is_before = row.before_sending || is_of_system;
            reader.note(Content::of(Source::File(source)), is_before, row.bytes);
        }
    }
}
