//! Reasons that pages prove: R1 to R5, R8, R10 and R12, one for each way of the account
//! and each change that would mend it, with the programs it would mend; and R0 of what may be a
//! file's.

use std::collections::{BTreeMap, BTreeSet};

use crate::account::context::{Context, InterfaceKey};
use crate::account::{Account, Part, Way};
use crate::call::{self, Role};
use crate::evidence::{Calls, Evidence, FileId, FileKind, Memory};
use crate::explain::fixes::{self, About};
use crate::explain::reasons::{Finding, Reason};
use crate::explain::seen_calls::SeenCalls;
use crate::words::{count, of};

/// Bytes that went one way and that one change would mend, of the programs it would mend.
struct Group<'a> {
    evidence: &'a Evidence,
    context: &'a Context,
    processes: BTreeSet<u32>,
    files: BTreeSet<FileId>,
    sockets: BTreeSet<u64>,
    /// How often the processor copied them.
    copies: BTreeSet<u8>,
    bytes: u64,
}

/// The findings.
pub(crate) fn find(evidence: &Evidence, context: &Context, account: &Account) -> Vec<Finding> {
    let mut by_program: BTreeMap<(Way, String), Vec<&Part>> = BTreeMap::new();
    for part in &account.parts {
        let key = (part.way, context.program_of(part.process));
        by_program.entry(key).or_default().push(part);
    }
    let mut by_fix: BTreeMap<(Way, String), Vec<&Part>> = BTreeMap::new();
    for ((way, program), parts) in by_program {
        let process = parts.first().and_then(|part| context.programs.get(&part.process));
        let runtime = process.and_then(|process| process.runtime);
        let about = About { program: &program, runtime, is_small: is_small(&parts, context) };
        by_fix.entry((way, fixes::of(way, &about, context))).or_default().extend(parts);
    }
    let all: u64 = account.sum(|_| true);
    let finding = |((way, fix), parts): ((Way, String), Vec<&Part>)| {
        let inode = |part: &&Part| Some(evidence.sockets.get(part.socket)?.inode);
        let group = Group {
            evidence,
            context,
            processes: parts.iter().map(|part| part.process).collect(),
            files: parts.iter().filter_map(|part| part.file).collect(),
            sockets: parts.iter().filter_map(inode).collect(),
            copies: parts.iter().map(|part| part.copies).collect(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
        };
        let (reason, said) = group.is_worth(all).then(|| group.said(way))??;
        // Of what came by a pipe those are named first who filled it.
        let program = if way == Way::Piped { group.filling() } else { group.program() };
        let evidence = format!("{program}: {said}");
        Some(Finding { reason, bytes: group.bytes, evidence, fix })
    };
    by_fix.into_iter().filter_map(finding).collect()
}

/// Whether the files were sent in so little at a time that copying them is right. It is not known
/// of files whose length is not.
fn is_small(parts: &[&Part], context: &Context) -> bool {
    let mut by_file: BTreeMap<FileId, u64> = BTreeMap::new();
    for part in parts {
        *by_file.entry(part.file.unwrap_or(FileId::NOT_SEEN)).or_default() += part.bytes;
    }
    let mut times = 0;
    for (file, bytes) in &by_file {
        match context.sizes.get(file) {
            Some(size @ 1..) => times += bytes.div_ceil(*size),
            Some(0) | None => return false,
        }
    }
    let bytes: u64 = by_file.values().sum();
    bytes <= times.saturating_mul(SMALL_BYTES_MAX)
}

/// A copy of this many bytes costs less than lending them.
const SMALL_BYTES_MAX: u64 = 16 * 1024;

/// What is less than this, and less than one in `NOTED` of all bytes, is not worth a line.
const WORTH_BYTES: u64 = 4096;
const NOTED: u64 = 1000;

/// What is less than one in this many bytes may be calls and packets that fell into different
/// looks.
const SURE: u64 = 100;

const PERHAPS: &str = "it is not known whether they are a file's: the program encrypted them or \
                       its memory could not be looked at, and files are mapped, or a pipe was \
                       filled while nothing was looked at";
const UNCACHED: &str = "left in lent pages that belong to no file: whether the CPU filled them is \
                        not seen";
const DIRECT: &str = "were passed from a descriptor opened with O_DIRECT; the device filled fresh \
                      pages, which were lent: no copy, but nothing is cached";

impl Group<'_> {
    const fn is_worth(&self, all: u64) -> bool {
        let is_sure = !self.evidence.has_gaps || self.bytes.saturating_mul(SURE) >= all;
        is_sure && (self.bytes >= WORTH_BYTES || self.bytes.saturating_mul(NOTED) >= all)
    }

    fn is_ours(&self, row: &Calls, role: Role) -> bool {
        self.processes.contains(&row.process) && call::role(row.number) == Some(role)
    }

    /// Whether a call read the files, or put them into a pipe.
    fn is_reading(&self, row: &Calls) -> bool {
        let is_to_pipe = row.target.is_none_or(|target| target.kind == FileKind::Pipe);
        row.source.is_some_and(|source| self.files.contains(&source)) && is_to_pipe
    }

    /// Calls that read the files: its own, or those that filled the pipe.
    fn taking(&self) -> SeenCalls {
        let is_own = |row: &Calls| self.is_reading(row) && self.is_ours(row, Role::Take);
        match SeenCalls::of(self.evidence, is_own) {
            own if own.bytes > 0 => own,
            _ => self.read_by_all(),
        }
    }

    /// Calls of a role that reached the sockets.
    fn reaching(&self, role: Role) -> SeenCalls {
        SeenCalls::of(self.evidence, |row| {
            let is_of_socket = row.target.is_some_and(|target| {
                target.kind == FileKind::Socket && self.sockets.contains(&target.inode)
            });
            is_of_socket && self.is_ours(row, role)
        })
    }

    fn program(&self) -> String {
        self.context.programs_of(&self.processes)
    }

    /// The file, or how many.
    fn file_names(&self) -> String {
        match self.files.first() {
            Some(file) if self.files.len() == 1 => self.context.name_of(*file),
            None => "one of several files".to_owned(),
            Some(_) => of(self.files.len() as u64, "file"),
        }
    }

    /// A library that encrypts, for the end of a sentence.
    fn tls_library(&self) -> String {
        let mut programs = self.processes.iter().filter_map(|it| self.context.programs.get(it));
        let library = programs.find_map(|program| program.tls_library.as_deref());
        library.map_or_else(String::new, |name| format!(", {name} is loaded"))
    }

    /// Why bytes that went a way were copied, and what was seen of it.
    fn said(&self, way: Way) -> Option<(Reason, String)> {
        let (files, bytes) = (self.file_names(), count(self.bytes));
        let gave = || self.reaching(Role::Give).did("gave");
        let passed = |verb| self.reaching(Role::Pass).did(verb);
        let read =
            || format!("{} bytes of {files}, {} to the sockets", self.taking().did("took"), gave());
        Some(match way {
            Way::Read => (Reason::R1, read() + "; these left in pages of the kernel's own"),
            Way::Piped => (Reason::R1, self.piped(&files)),
            Way::ReadTls => {
                let records = "what was given are TLS records, and the sockets have no upper layer";
                (Reason::R3, format!("{}; {records} tls{}", read(), self.tls_library()))
            }
            Way::ReadTransformed => {
                let [taken, given] = [self.taking(), self.reaching(Role::Give)];
                let (taken, given) = (count(taken.bytes), count(given.bytes));
                let said =
                    format!("{taken} bytes were read of {files} and {given} given to sockets");
                (Reason::R4, said)
            }
            Way::Mapped => {
                let given = self.giving_mapped().did("gave");
                (Reason::R2, format!("{given} bytes from addresses in the mapping of {files}"))
            }
            Way::MappedTls => {
                let records = "bytes to the sockets, which are TLS records; no file that was read \
                               accounts for them, and";
                let layer = "is mapped; the sockets have no upper layer tls";
                let library = self.tls_library();
                (Reason::R3, format!("{} {records} {files} {layer}{library}", gave()))
            }
            Way::RelayedThroughMemory => {
                let (taken, given) = (self.receiving().did("took"), gave());
                let alike = "about as many, and no file accounts for them";
                let said = format!("{taken} bytes out of sockets, {given} to sockets, {alike}");
                (Reason::R12, said)
            }
            Way::Perhaps => (Reason::R0, format!("of {bytes} bytes {PERHAPS}")),
            Way::Linear { interface } => (Reason::R5, self.linear(interface, &bytes)),
            Way::Encrypted => {
                let layer = "bytes to sockets with the upper layer tls; the kernel encrypted them \
                             into its own pages: one pass of the CPU";
                (Reason::R3, format!("{} {layer}", passed("passed")))
            }
            Way::Uncached => {
                let said = format!("{} bytes of {files}, and {bytes}", passed("passed"));
                (Reason::R8, format!("{said} {UNCACHED}"))
            }
            Way::Direct => (Reason::R8, format!("{bytes} bytes of {files} {DIRECT}")),
            Way::Ring => (Reason::R10, self.ring(&bytes)),
            Way::Reference
            | Way::ReferenceUnseen
            | Way::Memory
            | Way::Relayed
            | Way::FromPipe
            | Way::Unseen => return None,
        })
    }

    /// Calls of all that read the files, or put them into a pipe.
    fn read_by_all(&self) -> SeenCalls {
        SeenCalls::of(self.evidence, |row| self.is_reading(row))
    }

    /// The programs that filled the pipe.
    fn filling(&self) -> String {
        self.context.programs_of(&self.read_by_all().processes)
    }

    fn piped(&self, files: &str) -> String {
        let [given, passed] = [Role::Give, Role::Pass].map(|role| self.reaching(role));
        let sent = if given.bytes > passed.bytes { given } else { passed };
        let copies: Vec<String> = self.copies.iter().map(u8::to_string).collect();
        format!(
            "{} bytes of {files}, which were written into a pipe; {}: {} to the sockets; {} copies \
             of each byte",
            self.read_by_all().did("took"),
            self.program(),
            sent.did("gave"),
            copies.join(" or "),
        )
    }

    fn linear(&self, key: InterfaceKey, bytes: &str) -> String {
        let interface = self.context.interfaces.get(&key);
        let says = match interface.and_then(|interface| interface.has_scatter_gather) {
            Some(false) => ", whose tx-scatter-gather is off",
            Some(true) => ", although its tx-scatter-gather is on",
            None => "",
        };
        format!(
            "{} bytes as passed, and {bytes} were next to the headers when they left by {}{says}",
            self.reaching(Role::Pass).did("returned"),
            self.context.interface_name(key),
        )
    }

    fn ring(&self, bytes: &str) -> String {
        let is_ours =
            |row: &Calls| self.processes.contains(&row.process) && call::is_uring(row.number);
        format!(
            "an io_uring is in use ({}), and {bytes} bytes left in copied pages that no other call \
             accounts for; its operations are not seen, so neither are their files",
            SeenCalls::of(self.evidence, is_ours).names(),
        )
    }

    /// Calls that gave memory which is a mapping of the files.
    fn giving_mapped(&self) -> SeenCalls {
        SeenCalls::of(self.evidence, |row| {
            let is_mapped = match row.memory {
                Memory::File(file) => self.files.contains(&file),
                Memory::NotSeen => true,
                Memory::None | Memory::Own => false,
            };
            is_mapped && self.is_ours(row, Role::Give)
        })
    }

    /// Calls that took bytes out of sockets.
    fn receiving(&self) -> SeenCalls {
        SeenCalls::of(self.evidence, |row| {
            let is_socket = row.source.is_some_and(|source| source.kind == FileKind::Socket);
            is_socket && self.is_ours(row, Role::Take)
        })
    }
}
