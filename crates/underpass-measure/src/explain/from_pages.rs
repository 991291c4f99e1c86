//! Reasons that pages prove: R1 to R5, R8, R10 and R12, one for each way of the account
//! and each change that would mend it, with the programs it would mend.

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
    way: Way,
    fix: String,
    program: String,
    processes: BTreeSet<u32>,
    files: BTreeSet<FileId>,
    sockets: BTreeSet<u64>,
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
    let groups = by_fix.into_iter().map(|((way, fix), parts)| {
        let processes: BTreeSet<u32> = parts.iter().map(|part| part.process).collect();
        let inode = |part: &&Part| Some(evidence.sockets.get(part.socket)?.inode);
        Group {
            evidence,
            context,
            way,
            fix,
            program: context.programs_of(&processes),
            processes,
            files: parts.iter().filter_map(|part| part.file).collect(),
            sockets: parts.iter().filter_map(inode).collect(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
        }
    });
    let all: u64 = account.sum(|_| true);
    groups.filter(|group| group.is_worth(all)).filter_map(|group| group.finding()).collect()
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

impl Group<'_> {
    const fn is_worth(&self, all: u64) -> bool {
        let is_sure = !self.evidence.has_gaps || self.bytes.saturating_mul(SURE) >= all;
        is_sure && (self.bytes >= WORTH_BYTES || self.bytes.saturating_mul(NOTED) >= all)
    }

    fn finding(&self) -> Option<Finding> {
        Some(match self.way {
            Way::Read => self.read(),
            Way::Piped => self.piped(),
            Way::ReadTls => self.read_and_encrypted(),
            Way::ReadTransformed => self.transformed(),
            Way::Mapped => self.mapped(),
            Way::MappedTls => self.mapped_and_encrypted(),
            Way::RelayedThroughMemory => self.relayed(),
            Way::Linear { interface } => self.linear(interface),
            Way::Encrypted => self.encrypted_by_the_kernel(),
            Way::Uncached => self.uncached(),
            Way::Direct => self.direct(),
            Way::Ring => self.ring(),
            Way::Reference | Way::Memory | Way::Relayed | Way::FromPipe | Way::Unseen => {
                return None;
            }
        })
    }

    fn because(&self, reason: Reason, evidence: String) -> Finding {
        Finding { reason, bytes: self.bytes, evidence, fix: self.fix.clone() }
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
            _ => SeenCalls::of(self.evidence, |row| self.is_reading(row)),
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

    fn read_and_given(&self) -> String {
        let (taken, given) = (self.taking(), self.reaching(Role::Give));
        format!(
            "{}: {} took {} bytes of {}, {} gave {} to the sockets",
            self.program,
            taken.names(),
            count(taken.bytes),
            self.file_names(),
            given.names(),
            count(given.bytes),
        )
    }

    /// The file, or how many.
    fn file_names(&self) -> String {
        match self.files.first() {
            Some(file) if self.files.len() == 1 => self.context.name_of(*file),
            None => "one of several files".to_owned(),
            Some(_) => of(self.files.len() as u64, "file"),
        }
    }

    fn read(&self) -> Finding {
        let evidence =
            format!("{}; these left in pages of the kernel's own", self.read_and_given());
        self.because(Reason::R1, evidence)
    }

    fn piped(&self) -> Finding {
        let reading = self.evidence.calls.iter().filter(|row| self.is_reading(row));
        let readers = reading.map(|row| row.process).collect();
        let taken = SeenCalls::of(self.evidence, |row| self.is_reading(row));
        let [given, passed] = [Role::Give, Role::Pass].map(|role| self.reaching(role));
        let sent = if given.bytes > passed.bytes { given } else { passed };
        let evidence = format!(
            "{}: {} took {} bytes of {}, which were written into a pipe; {}: {} gave {} to the \
             sockets",
            self.context.programs_of(&readers),
            taken.names(),
            count(taken.bytes),
            self.file_names(),
            self.program,
            sent.names(),
            count(sent.bytes),
        );
        self.because(Reason::R1, evidence)
    }

    /// A library that encrypts, for the end of a sentence.
    fn tls_library(&self) -> String {
        let mut programs = self.processes.iter().filter_map(|it| self.context.programs.get(it));
        let library = programs.find_map(|program| program.tls_library.as_deref());
        library.map_or_else(String::new, |name| format!(", {name} is loaded"))
    }

    fn read_and_encrypted(&self) -> Finding {
        let evidence = format!(
            "{}; what was given are TLS records, and the sockets have no upper layer tls{}",
            self.read_and_given(),
            self.tls_library(),
        );
        self.because(Reason::R3, evidence)
    }

    fn transformed(&self) -> Finding {
        let evidence = format!(
            "{}: {} bytes were read of {} and {} given to sockets",
            self.program,
            count(self.taking().bytes),
            self.file_names(),
            count(self.reaching(Role::Give).bytes),
        );
        self.because(Reason::R4, evidence)
    }

    fn mapped(&self) -> Finding {
        let given = SeenCalls::of(self.evidence, |row| {
            let is_mapped = match row.memory {
                Memory::File(file) => self.files.contains(&file),
                Memory::NotSeen => true,
                Memory::None | Memory::Own => false,
            };
            is_mapped && self.is_ours(row, Role::Give)
        });
        let evidence = format!(
            "{}: {} gave {} bytes from addresses in the mapping of {}",
            self.program,
            given.names(),
            count(given.bytes),
            self.file_names(),
        );
        self.because(Reason::R2, evidence)
    }

    fn mapped_and_encrypted(&self) -> Finding {
        let given = self.reaching(Role::Give);
        let evidence = format!(
            "{}: {} gave {} bytes to the sockets, which are TLS records; no file that was read \
             accounts for them, and {} is mapped; the sockets have no upper layer tls{}",
            self.program,
            given.names(),
            count(given.bytes),
            self.file_names(),
            self.tls_library(),
        );
        self.because(Reason::R3, evidence)
    }

    fn relayed(&self) -> Finding {
        let given = self.reaching(Role::Give);
        let taken = SeenCalls::of(self.evidence, |row| {
            let is_socket = row.source.is_some_and(|source| source.kind == FileKind::Socket);
            is_socket && self.is_ours(row, Role::Take)
        });
        let evidence = format!(
            "{}: {} took {} bytes out of sockets, {} gave {} to sockets, and no file accounts for \
             them",
            self.program,
            taken.names(),
            count(taken.bytes),
            given.names(),
            count(given.bytes),
        );
        self.because(Reason::R12, evidence)
    }

    fn linear(&self, key: InterfaceKey) -> Finding {
        let interface = self.context.interfaces.get(&key);
        let name = self.context.interface_name(key);
        let passed = self.reaching(Role::Pass);
        let says = match interface.and_then(|interface| interface.has_scatter_gather) {
            Some(false) => ", whose tx-scatter-gather is off",
            Some(true) => ", although its tx-scatter-gather is on",
            None => "",
        };
        let evidence = format!(
            "{}: {} returned {} bytes as passed, and {} were next to the headers when they left by \
             {name}{says}",
            self.program,
            passed.names(),
            count(passed.bytes),
            count(self.bytes),
        );
        self.because(Reason::R5, evidence)
    }

    fn encrypted_by_the_kernel(&self) -> Finding {
        let passed = self.reaching(Role::Pass);
        let evidence = format!(
            "{}: {} passed {} bytes to sockets with the upper layer tls; the kernel encrypted \
             them into its own pages: one pass of the CPU",
            self.program,
            passed.names(),
            count(passed.bytes),
        );
        self.because(Reason::R3, evidence)
    }

    fn uncached(&self) -> Finding {
        let passed = self.reaching(Role::Pass);
        let evidence = format!(
            "{}: {} passed {} bytes of {}, and {} left in lent pages that belong to no file: \
             whether the CPU filled them is not seen",
            self.program,
            passed.names(),
            count(passed.bytes),
            self.file_names(),
            count(self.bytes),
        );
        self.because(Reason::R8, evidence)
    }

    fn direct(&self) -> Finding {
        let evidence = format!(
            "{}: {} bytes of {} were passed from a descriptor opened with O_DIRECT; the device \
             filled fresh pages, which were lent: no copy, but nothing is cached",
            self.program,
            count(self.bytes),
            self.file_names(),
        );
        self.because(Reason::R8, evidence)
    }

    fn ring(&self) -> Finding {
        let enters = SeenCalls::of(self.evidence, |row| {
            self.processes.contains(&row.process) && call::is_uring(row.number)
        });
        let evidence = format!(
            "{}: an io_uring is in use ({}), and {} bytes left in copied pages that no other \
             call accounts for; its operations are not seen, so neither are their files",
            self.program,
            enters.names(),
            count(self.bytes),
        );
        self.because(Reason::R10, evidence)
    }
}
