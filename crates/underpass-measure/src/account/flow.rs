//! What came into a pipe, and into the memory of a process: followed back over pipes and processes
//! to the files that were read.
//!
//! Nothing is taken out of a pipe here: what one reader takes of it is a share of all that came
//! in, as it is with tee(2). Of a pipe that came short it is not known what it was; nor of what
//! goes around in a circle of pipes, which is followed back to the one who wrote it and no further.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::apportion;
use super::context::Context;
use super::reading::{self, Reader};
use crate::call::{self, Role};
use crate::evidence::{Calls, Evidence, FileId, FileKind, Memory};

/// What is read to see what a file is; more at a time is read to be sent.
const SNIFFED_BYTES_MAX: u64 = 4096;

/// What is read of a library's head, at most.
const HEAD_BYTES: u64 = 1024;

/// What bytes were before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A regular file.
    File(FileId),
    /// A socket.
    Socket,
    /// Memory of a process, of no file that is known.
    Memory,
    /// Memory of a process, which could not be looked at; or what came into a pipe meanwhile.
    NotSeen,
    /// A device.
    Device,
    /// A pipe that no watched process filled.
    Pipe,
}

/// Bytes of one source, and what became of them on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
        if let Source::File(file) = self.source { Some(file) } else { None }
    }
}

/// The calls by what they reached, for there may be as many sockets as calls; and what followed
/// from them so far.
#[derive(Debug)]
pub(crate) struct Flows<'e> {
    context: &'e Context,
    pub(crate) has_gaps: bool,
    /// Those that reached a pipe, or a socket by its inode alone.
    reached: HashMap<FileId, Vec<&'e Calls>>,
    by_process: HashMap<u32, Vec<&'e Calls>>,
    /// Who takes out of a pipe, or passes on what is in it.
    takers: HashMap<FileId, BTreeSet<u32>>,
    /// Pipes, and memories of processes, to which what leaves them may come back.
    circles: BTreeSet<FileId>,
    /// Processes with an io_uring, whose operations are not calls.
    pub(crate) rings: BTreeSet<u32>,
    /// Processes with a call under way that gives.
    giving: BTreeSet<u32>,
    /// The TCP sockets, and their own ports.
    ports: HashMap<u64, Option<u16>>,
    programs: BTreeSet<FileId>,
    /// Inodes of those of which the device is another where their pages are seen.
    programs_by_inode: BTreeSet<u64>,
    /// Files that a process mapped and may have sent.
    mapped: HashMap<u32, BTreeSet<FileId>>,
    pipes: HashMap<FileId, Rc<Contents>>,
    readers: HashMap<(u32, bool), Rc<Reader>>,
}

/// A socket as it is looked up.
const fn socket_key(inode: u64) -> FileId {
    FileId { kind: FileKind::Socket, ..FileId::regular(0, 0, inode) }
}

/// The memory of a process, among pipes.
fn memory_key(process: u32) -> FileId {
    FileId { kind: FileKind::Other, ..FileId::regular(0, 0, process.into()) }
}

fn is_pipe(id: &FileId) -> bool {
    id.kind == FileKind::Pipe
}

impl<'e> Flows<'e> {
    pub(crate) fn of(evidence: &'e Evidence, context: &'e Context) -> Self {
        let programs = evidence.mapped.iter().filter(|mapped| mapped.is_program);
        let programs = programs.map(|mapped| mapped.file);
        let disguised = context.program_files.iter().filter(|file| context.is_disguised(**file));
        let is_give = |row: &&Calls| call::role(row.number) == Some(Role::Give);
        let giving = evidence.under_way.iter().filter(is_give);
        let with_ring = context.programs.iter().filter(|(_, program)| program.uses_uring);
        let port = |address: std::net::SocketAddr| address.port();
        let sockets = evidence.sockets.iter();
        let mut flows = Self {
            context,
            has_gaps: evidence.has_gaps,
            reached: HashMap::new(),
            by_process: HashMap::new(),
            takers: HashMap::new(),
            circles: BTreeSet::new(),
            giving: giving.map(|row| row.process).collect(),
            rings: with_ring.map(|(process, _)| *process).collect(),
            ports: sockets.map(|socket| (socket.inode, socket.local.map(port))).collect(),
            programs: programs.chain(context.program_files.iter().copied()).collect(),
            programs_by_inode: disguised.map(|file| file.inode).collect(),
            mapped: HashMap::new(),
            pipes: HashMap::new(),
            readers: HashMap::new(),
        };
        for row in &evidence.calls {
            flows.by_process.entry(row.process).or_default().push(row);
            let socket = row.target.filter(|id| id.kind == FileKind::Socket);
            let socket = socket.map(|id| socket_key(id.inode));
            if let Some(id) = socket.or_else(|| row.target.filter(is_pipe)) {
                flows.reached.entry(id).or_default().push(row);
            }
            if let Some(pipe) = row.source.filter(is_pipe) {
                flows.takers.entry(pipe).or_default().insert(row.process);
            }
            if call::is_uring(row.number) {
                flows.rings.insert(row.process);
            }
        }
        let seen = evidence.mapped.iter().filter(|mapped| !mapped.is_written);
        let seen = seen.map(|mapped| (mapped.process, mapped.file));
        let earlier = context.programs.iter();
        let earlier =
            earlier.flat_map(|(process, it)| it.mapped.iter().map(|file| (*process, *file)));
        for (process, file) in seen.chain(earlier) {
            if !flows.is_program(file) && !context.is_of_system(file) {
                flows.mapped.entry(process).or_default().insert(file);
            }
        }
        flows.circles = flows.circles();
        flows
    }

    /// Pipes and memories between which bytes may go around: those that are left when the ends of
    /// all chains are taken off.
    fn circles(&self) -> BTreeSet<FileId> {
        let mut ways = BTreeSet::new();
        for row in self.by_process.values().flatten() {
            let memory = memory_key(row.process);
            let from_memory = row.target.filter(|pipe| self.leads_on(row.process, *pipe));
            match (row.source.filter(is_pipe), row.target.filter(is_pipe)) {
                (Some(pipe), Some(other)) => ways.insert((pipe, other)),
                (Some(pipe), None) if row.target.is_none() => ways.insert((pipe, memory)),
                (None, _) => from_memory.is_some_and(|pipe| ways.insert((memory, pipe))),
                (Some(_), None) => false,
            };
        }
        loop {
            let (out, into): (BTreeSet<FileId>, BTreeSet<FileId>) = ways.iter().copied().unzip();
            let all = ways.len();
            ways.retain(|(from, to)| into.contains(from) && out.contains(to));
            if ways.len() == all {
                return out;
            }
        }
    }

    fn is_program(&self, file: FileId) -> bool {
        self.programs.contains(&file) || self.programs_by_inode.contains(&file.inode)
    }

    /// The calls that reached a TCP socket.
    pub(crate) fn to_socket(&self, inode: u64) -> Vec<&'e Calls> {
        self.reached.get(&socket_key(inode)).cloned().unwrap_or_default()
    }

    /// The file whose mapping was given; constants of a program are in a file, too, and are its
    /// own memory.
    pub(crate) fn mapped(&self, row: &Calls) -> Option<FileId> {
        let Memory::File(file) = row.memory else { return None };
        (!self.is_program(file)).then_some(file)
    }

    /// What a call that passes bytes took them from.
    pub(crate) fn passed(&mut self, row: &Calls) -> Contents {
        let source = match row.source {
            Some(pipe) if is_pipe(&pipe) => return self.drawn(pipe, row.target, row.bytes),
            Some(id) if id.kind == FileKind::Regular => Source::File(id),
            Some(id) if id.kind == FileKind::Socket => Source::Socket,
            Some(_) => Source::Device,
            // vmsplice(2) lends it.
            None => self.mapped(row).map_or(Source::Memory, Source::File),
        };
        vec![(Content::of(source), row.bytes)]
    }

    /// What was taken out of a pipe into another, a socket or a memory.
    fn drawn(&mut self, pipe: FileId, into: Option<FileId>, bytes: u64) -> Contents {
        if self.circles.contains(&pipe) && into.is_some_and(|into| self.circles.contains(&into)) {
            return vec![(Content::of(Source::Pipe), bytes)];
        }
        let came = self.pipe(pipe);
        let weights: Vec<u64> = came.iter().map(|(_, bytes)| *bytes).collect();
        let there: u64 = weights.iter().sum();
        let known = bytes.min(there);
        let mut contents: Contents =
            came.iter().map(|(content, _)| *content).zip(apportion(known, &weights)).collect();
        // In a rest a watched one may have filled it, too.
        let is_missed = there > 0 && self.has_gaps;
        let rest = if is_missed { Source::NotSeen } else { Source::Pipe };
        contents.push((Content::of(rest), bytes - known));
        contents.retain(|(_, bytes)| *bytes > 0);
        contents
    }

    /// All that came into a pipe.
    fn pipe(&mut self, pipe: FileId) -> Rc<Contents> {
        if let Some(known) = self.pipes.get(&pipe) {
            return Rc::clone(known);
        }
        let mut contents: BTreeMap<Content, u64> = BTreeMap::new();
        for row in self.reached.get(&pipe).cloned().unwrap_or_default() {
            let put = match call::role(row.number) {
                Some(Role::Pass) => self.passed(row),
                Some(Role::Give) => self.given(row, pipe),
                Some(Role::Take | Role::Unmeasured) | None => Vec::new(),
            };
            for (content, bytes) in put {
                *contents.entry(content).or_default() += bytes;
            }
        }
        let contents: Rc<Contents> = Rc::new(contents.into_iter().collect());
        self.pipes.insert(pipe, Rc::clone(&contents));
        contents
    }

    /// What a process wrote into a pipe.
    fn given(&mut self, row: &Calls, pipe: FileId) -> Contents {
        if let Some(file) = self.mapped(row) {
            return vec![(Content::of(Source::File(file)).copied(1), row.bytes)];
        }
        let mut contents = Contents::new();
        if self.leads_on(row.process, pipe) {
            let reader = self.reader_for(row.process, self.circles.contains(&pipe));
            contents = reader.contents_of(row.bytes);
            let is_transformed = reader.is_transforming();
            for (content, _) in &mut contents {
                // Read, and written.
                *content = content.copied(2);
                content.is_transformed |= is_transformed;
            }
        }
        let known: u64 = contents.iter().map(|(_, bytes)| *bytes).sum();
        contents.push((Content::of(Source::Memory).copied(1), row.bytes - known));
        contents
    }

    /// What a process read, and what it gave from memory that is not a mapping.
    pub(crate) fn reader(&mut self, process: u32) -> Rc<Reader> {
        self.reader_for(process, false)
    }

    /// The same for a pipe; for one in a circle, without what comes out of the circle.
    fn reader_for(&mut self, process: u32, is_in_circle: bool) -> Rc<Reader> {
        if let Some(known) = self.readers.get(&(process, is_in_circle)) {
            return Rc::clone(known);
        }
        let into = is_in_circle.then(|| memory_key(process));
        let mut reader = Reader::default();
        let mut sockets = HashSet::new();
        let mut passed: HashMap<FileId, u64> = HashMap::new();
        let mut takes: HashMap<FileId, u64> = HashMap::new();
        for row in self.by_process.get(&process).cloned().unwrap_or_default() {
            match (call::role(row.number), row.source, row.target) {
                (Some(Role::Take), Some(source), _) => {
                    *takes.entry(source).or_default() += row.succeeded();
                    self.take(row, source, into, &mut reader);
                }
                (Some(Role::Pass), Some(source), _) => {
                    *passed.entry(source).or_default() += row.bytes;
                }
                (Some(Role::Give), _, Some(target)) if self.mapped(row).is_none() => {
                    let port = self.ports.get(&target.inode);
                    if let Some(port) = port.filter(|_| target.kind == FileKind::Socket) {
                        reader.given_bytes += row.bytes;
                        reader.sides.entry(*port).or_default().given_bytes += row.bytes;
                        sockets.insert(target.inode);
                    } else if self.leads_on(process, target) {
                        reader.given_bytes += row.bytes;
                    }
                }
                _ => {}
            }
        }
        reader.connections = sockets.len() as u64;
        reader.is_giving = self.giving.contains(&process);
        let mapped = self.mapped.get(&process).into_iter().flatten();
        reader.mapped = mapped.map(|file| (*file, self.size(*file))).collect();
        let times = |(file, bytes): (&FileId, &u64)| bytes.div_ceil(self.size(*file).max(1));
        let responses = passed.iter().filter(|(file, _)| self.size(**file) > 0).map(times).sum();
        let has_more = reader.given_bytes > reading::HEAD_BYTES.saturating_mul(responses);
        for (content, read) in &mut reader.files {
            if let (Source::File(file), 0) = (content.source, content.copies) {
                let of = |map: &HashMap<FileId, u64>| map.get(&file).copied().unwrap_or(0);
                *read = sent_of_read(*read, of(&passed), of(&takes), self.size(file), has_more);
            }
        }
        reader.settle(|file| self.context.is_of_system(file));
        let reader = Rc::new(reader);
        self.readers.insert((process, is_in_circle), Rc::clone(&reader));
        reader
    }

    /// How long a file is; 0 if that is not known.
    fn size(&self, file: FileId) -> u64 {
        self.context.sizes.get(&file).copied().unwrap_or(0)
    }

    /// Whether what a process gave is taken out of a pipe by another that is watched. What it gives
    /// to itself is not followed.
    fn leads_on(&self, process: u32, pipe: FileId) -> bool {
        let mut takers = self.takers.get(&pipe).into_iter().flatten();
        takers.any(|taker| *taker != process)
    }

    /// What a call took into memory.
    fn take(&mut self, row: &Calls, source: FileId, into: Option<FileId>, reader: &mut Reader) {
        // The loader looks at the head of each library before it maps it.
        let is_loading =
            self.is_program(source) && row.bytes <= row.calls.saturating_mul(HEAD_BYTES);
        if source.kind == FileKind::Socket {
            let port = self.ports.get(&source.inode).copied().flatten();
            reader.sides.entry(port).or_default().received_bytes += row.bytes;
            reader.received_calls += row.succeeded();
        } else if source.kind == FileKind::Pipe {
            for (content, bytes) in self.drawn(source, into, row.bytes) {
                if matches!(content.source, Source::File(_) | Source::Pipe | Source::NotSeen) {
                    reader.note(content, row.before_sending, bytes);
                }
            }
        } else if source.kind == FileKind::Regular
            && !is_loading
            && !self.context.is_made_up(source)
        {
            let is_own = self.context.is_read_for_itself(source, row.bytes);
            reader.note(Content::of(Source::File(source)), row.before_sending || is_own, row.bytes);
        }
    }
}

/// Bytes of those read of a file that may have been sent. One that is also passed is read for its
/// beginning, to see what it is: this is sent only where that much was not passed, and more was
/// given than heads.
fn sent_of_read(read: u64, passed: u64, calls: u64, size: u64, has_more: bool) -> u64 {
    let piece = read.checked_div(calls).unwrap_or(0);
    if passed == 0 || piece > SNIFFED_BYTES_MAX || piece >= size {
        return read;
    }
    match (passed % size, passed % (size - piece)) {
        (0, _) => 0,
        (_, 0) if !has_more => 0,
        (_, 0) => read.min(passed / (size - piece) * piece),
        _ => read,
    }
}
