//! Reasons that pages prove: R1 to R5, R8 and R10, one for each way of the account, program by
//! program.

use std::collections::{BTreeMap, BTreeSet};

use crate::account::context::{Context, InterfaceKey};
use crate::account::{Account, Part, Way};
use crate::call::{self, Role};
use crate::evidence::{Calls, Evidence, FileId, FileKind, Memory};
use crate::explain::fixes;
use crate::explain::reasons::{Finding, Reason};
use crate::explain::seen_calls::SeenCalls;
use crate::words::{count, of};

/// Bytes that one program sent in one way.
struct Group<'a> {
    evidence: &'a Evidence,
    context: &'a Context,
    way: Way,
    program: String,
    processes: BTreeSet<u32>,
    files: BTreeSet<FileId>,
    sockets: BTreeSet<u64>,
    bytes: u64,
}

/// The findings.
pub(crate) fn find(evidence: &Evidence, context: &Context, account: &Account) -> Vec<Finding> {
    let mut keys: BTreeMap<(Way, String), Vec<&Part>> = BTreeMap::new();
    for part in &account.parts {
        keys.entry((part.way, context.program_of(part.process))).or_default().push(part);
    }
    let groups = keys.into_iter().map(|((way, program), parts)| Group {
        evidence,
        context,
        way,
        program,
        processes: parts.iter().map(|part| part.process).collect(),
        files: parts.iter().filter_map(|part| part.file).collect(),
        sockets: parts
            .iter()
            .filter_map(|part| evidence.sockets.get(part.socket).map(|socket| socket.inode))
            .collect(),
        bytes: parts.iter().map(|part| part.bytes).sum(),
    });
    let all: u64 = account.sum(|_| true);
    groups.filter(|group| group.is_sure(all)).filter_map(|group| group.finding()).collect()
}

/// What is less than one in this many bytes may be calls and packets that fell into different
/// looks.
const SURE: u64 = 100;

impl Group<'_> {
    const fn is_sure(&self, all: u64) -> bool {
        !self.evidence.has_gaps || self.bytes.saturating_mul(SURE) >= all
    }

    fn finding(&self) -> Option<Finding> {
        Some(match self.way {
            Way::Read => self.read(),
            Way::Piped => self.piped(),
            Way::ReadTls => self.read_and_encrypted(),
            Way::ReadTransformed => self.transformed(),
            Way::Mapped => self.mapped(),
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

    fn because(&self, reason: Reason, evidence: String, fix: &str) -> Finding {
        Finding { reason, bytes: self.bytes, evidence, fix: fix.to_owned() }
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
            Some(_) | None => of(self.files.len() as u64, "file"),
        }
    }

    fn read(&self) -> Finding {
        let evidence =
            format!("{}; these left in pages of the kernel's own", self.read_and_given());
        self.because(Reason::R1, evidence, fixes::reading(&self.program))
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
        self.because(Reason::R1, evidence, fixes::PIPED)
    }

    fn tls_library(&self) -> Option<String> {
        let programs = self.processes.iter().filter_map(|it| self.context.programs.get(it));
        programs.filter_map(|program| program.tls_library.clone()).next()
    }

    fn read_and_encrypted(&self) -> Finding {
        let library = self.tls_library();
        let library = library.map_or_else(String::new, |name| format!(", {name} is loaded"));
        let evidence = format!(
            "{}; what was given are TLS records, and the sockets have no upper layer tls{library}",
            self.read_and_given()
        );
        self.because(Reason::R3, evidence, fixes::user_tls(&self.program))
    }

    fn transformed(&self) -> Finding {
        let evidence = format!(
            "{}: {} bytes were read of {} and {} given to sockets",
            self.program,
            count(self.taking().bytes),
            self.file_names(),
            count(self.reaching(Role::Give).bytes),
        );
        self.because(Reason::R4, evidence, fixes::transforming(&self.program))
    }

    fn mapped(&self) -> Finding {
        let given = SeenCalls::of(self.evidence, |row| {
            let is_mapped = matches!(row.memory, Memory::File(file) if self.files.contains(&file));
            is_mapped && self.is_ours(row, Role::Give)
        });
        let evidence = format!(
            "{}: {} gave {} bytes from addresses in the mapping of {}",
            self.program,
            given.names(),
            count(given.bytes),
            self.file_names(),
        );
        let fix = "sendfile(2) of the file: a mapping saves the copy of read(2), not that of \
                   write(2)";
        self.because(Reason::R2, evidence, fix)
    }

    fn linear(&self, key: InterfaceKey) -> Finding {
        let interface = self.context.interfaces.get(&key);
        let name = self.context.interface_name(key);
        let passed = self.reaching(Role::Pass);
        let (says, fix) = match interface.and_then(|interface| interface.has_scatter_gather) {
            Some(false) => (", whose tx-scatter-gather is off", format!("ethtool -K {name} sg on")),
            Some(true) => (
                ", although its tx-scatter-gather is on",
                format!("look for what needs whole packets: ethtool -k {name} (checksums)"),
            ),
            None => ("", format!("ethtool -K {name} sg on, if ethtool -k {name} says it is off")),
        };
        let evidence = format!(
            "{}: {} returned {} bytes as passed, and {} were next to the headers when they left by \
             {name}{says}",
            self.program,
            passed.names(),
            count(passed.bytes),
            count(self.bytes),
        );
        self.because(Reason::R5, evidence, &fix)
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
        let fix = "none in software, for encrypting writes every byte; a network card that \
                   encrypts (ethtool -K DEVICE tls-hw-tx-offload on) and TLS_TX_ZEROCOPY_RO";
        self.because(Reason::R3, evidence, fix)
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
        let fix = "serve it from a file system that uses the page cache (not FUSE with \
                   direct_io, not procfs or sysfs)";
        self.because(Reason::R8, evidence, fix)
    }

    fn direct(&self) -> Finding {
        let evidence = format!(
            "{}: {} bytes of {} were passed from a descriptor opened with O_DIRECT; the device \
             filled fresh pages, which were lent: no copy, but nothing is cached",
            self.program,
            count(self.bytes),
            self.file_names(),
        );
        let fix = "none needed; without O_DIRECT the next sendfile would find the pages cached";
        self.because(Reason::R8, evidence, fix)
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
        let fix = "IORING_OP_SPLICE through a pipe for files; IORING_OP_SEND_ZC for memory, from \
                   10 KB on, to peers on other machines";
        self.because(Reason::R10, evidence, fix)
    }
}
