//! Reasons next to the account's: R6, R7, R9, R11, and what is not known, R0.

use std::collections::BTreeSet;

use crate::account::context::{Context, InterfaceKey};
use crate::account::{Account, Class, Way};
use crate::call::{self, Role};
use crate::evidence::{Calls, Evidence, FileId, FileKind, Lent, Origin, Socket};
use crate::explain::reasons::{Finding, Reason};
use crate::explain::seen_calls::SeenCalls;
use crate::words::{count, of, share};

/// Documentation/networking/msg_zerocopy.rst: "generally only effective at writes over around
/// 10 KB".
const ZERO_COPY_PAYS_FROM_BYTES: u64 = 10 * 1024;

/// File systems on which copy_file_range(2) never shares extents.
const WITHOUT_SHARED_EXTENTS: [&str; 9] =
    ["ext2", "ext3", "ext4", "tmpfs", "f2fs", "vfat", "exfat", "squashfs", "ramfs"];

/// From here on this says what is not known.
const WORTH_TELLING_BYTES: u64 = 64 * 1024;

/// The findings.
pub(crate) fn find(evidence: &Evidence, context: &Context, account: &Account) -> Vec<Finding> {
    let found = [
        looped(evidence, context),
        too_small(evidence, context),
        sent_again(evidence),
        from_memory(account, context),
        from_pipe(account),
        not_accounted(account),
        by_ring_alone(evidence, account),
        other_sockets(evidence),
        of_32_bits(evidence, context),
        lost(evidence),
    ];
    file_to_file(evidence, context).into_iter().chain(found.into_iter().flatten()).collect()
}

fn told(reason: Reason, bytes: u64, evidence: String, fix: &str) -> Finding {
    Finding { reason, bytes, evidence, fix: fix.to_owned() }
}

fn is_zero_copy_to_socket(row: &Calls) -> bool {
    row.is_zero_copy && row.target.is_some_and(|target| target.kind == FileKind::Socket)
}

fn looped(evidence: &Evidence, context: &Context) -> Option<Finding> {
    let is_loopback = |network: u64, index: u32| {
        let interface = context.interfaces.get(&InterfaceKey { network, index });
        interface.is_some_and(|interface| interface.is_loopback)
    };
    let looped = |socket: &Socket| -> u64 {
        let lent = socket.sent.iter().filter(|pages| pages.lent == Lent::ZeroCopy);
        lent.filter(|pages| is_loopback(socket.network, pages.interface))
            .filter(|pages| pages.origin != Origin::Kernel)
            .map(|pages| pages.bytes)
            .sum()
    };
    let bytes: u64 = evidence.sockets.iter().map(looped).sum();
    let senders = SeenCalls::of(evidence, is_zero_copy_to_socket).processes;
    let said = format!(
        "{}: {} bytes were lent with MSG_ZEROCOPY and left by the loopback interface, where the \
         kernel copies lent memory before the receiver gets it",
        context.programs_of(&senders),
        count(bytes),
    );
    let fix = "leave MSG_ZEROCOPY off towards peers on this machine, or sendfile(2) the file";
    (bytes > 0).then(|| told(Reason::R6, bytes, said, fix))
}

fn too_small(evidence: &Evidence, context: &Context) -> Option<Finding> {
    let seen = SeenCalls::of(evidence, is_zero_copy_to_socket);
    let average = seen.bytes.checked_div(seen.calls)?;
    let said = format!(
        "{}: {} with MSG_ZEROCOPY sent {} bytes, {} each on average; below {} pinning pages costs \
         more than copying them",
        context.programs_of(&seen.processes),
        seen.names(),
        count(seen.bytes),
        count(average),
        count(ZERO_COPY_PAYS_FROM_BYTES),
    );
    let fix = "send without MSG_ZEROCOPY, or more at a time";
    (average < ZERO_COPY_PAYS_FROM_BYTES).then(|| told(Reason::R7, seen.bytes, said, fix))
}

fn file_to_file(evidence: &Evidence, context: &Context) -> Vec<Finding> {
    let is_regular = |id: Option<FileId>| id.is_some_and(|id| id.kind == FileKind::Regular);
    let file_system = |row: &Calls| {
        row.target.and_then(|target| context.file_systems.get(&(target.major, target.minor)))
    };
    let is_copy = |row: &Calls| {
        let never_shares = call::always_copies_to_files(row.number)
            || call::is_copy_file_range(row.number)
                && file_system(row)
                    .is_some_and(|name| WITHOUT_SHARED_EXTENTS.contains(&name.as_str()));
        never_shares && is_regular(row.source) && is_regular(row.target)
    };
    let names: BTreeSet<Option<&String>> =
        evidence.calls.iter().filter(|row| is_copy(row)).map(file_system).collect();
    let finding = |name: Option<&String>| {
        let seen = SeenCalls::of(evidence, |row| is_copy(row) && file_system(row) == name);
        let said = format!(
            "{}: {} bytes from file to file on {}; each page was copied to a page of the other \
             file",
            context.programs_of(&seen.processes),
            seen.did("moved"),
            name.map_or("a file system not known", |name| name),
        );
        let fix = "copy_file_range(2) on a file system that shares extents (btrfs, or xfs with \
                   reflink=1)";
        told(Reason::R9, seen.bytes, said, fix)
    };
    names.into_iter().map(finding).filter(|finding| finding.bytes > 0).collect()
}

fn sent_again(evidence: &Evidence) -> Option<Finding> {
    let again: u64 = evidence.sockets.iter().map(|socket| socket.retransmitted_bytes).sum();
    let pages = evidence.sockets.iter().flat_map(|socket| &socket.sent);
    let once: u64 = pages.map(|pages| pages.bytes).sum();
    let (bytes, part, all) = (count(again), share(again, once), count(once));
    let said = format!("{bytes} bytes left again, {part} of {all} that left");
    let fix = "none here: the network lost them or answered late; ss -ti shows the connections";
    (again > once / 100).then(|| told(Reason::R11, again, said, fix))
}

/// Bytes that went a way, if they are worth a line.
fn much(account: &Account, way: Way) -> Option<u64> {
    let bytes = account.sum(|part| part.way == way);
    let all = account.sum(|_| true);
    Some(bytes).filter(|bytes| *bytes >= WORTH_TELLING_BYTES && *bytes >= all / 10)
}

fn from_memory(account: &Account, context: &Context) -> Option<Finding> {
    let memory = much(account, Way::Memory)?;
    let (watch, fix) = if context.is_from_start {
        ("", "none: of what a program makes of its memory no more is seen")
    } else {
        ("before the watch, ", "'underpass explain -- COMMAND' sees what is read from the start")
    };
    let said = format!(
        "{} bytes left from memory of the processes, and no file that was read accounts for them: \
         made up by the program, headers, received, read through a mapping, or read {watch}before \
         anything was sent, or of the system's own files",
        count(memory),
    );
    Some(told(Reason::R0, memory, said, fix))
}

fn from_pipe(account: &Account) -> Option<Finding> {
    let piped = much(account, Way::FromPipe)?;
    let said = format!(
        "{} bytes came through a pipe that no watched process filled, or before the watch, or in a \
         circle of pipes: whether they are a file's is not seen",
        count(piped),
    );
    let fix = "watch the one that fills the pipe, too: both by their parent, or explain -- sh -c \
               'FILLER | SENDER'";
    Some(told(Reason::R0, piped, said, fix))
}

fn not_accounted(account: &Account) -> Option<Finding> {
    let unseen = account.sum(|part| matches!(part.way, Way::Unseen | Way::ReferenceUnseen));
    let files = account.sum(|part| part.way.class() != Class::NotAFile);
    let said = format!(
        "{} bytes left the sockets that no call of a watched process accounts for: another process \
         sent them, or a call that began before the watch or has not returned",
        count(unseen),
    );
    let fix = "watch the process that shares the sockets, or all of them by their parent";
    let is_worth = unseen >= WORTH_TELLING_BYTES || unseen > files;
    is_worth.then(|| told(Reason::R0, unseen, said, fix))
}

/// A ring whose sockets no call names, and that none of the watched has open any more.
fn by_ring_alone(evidence: &Evidence, account: &Account) -> Option<Finding> {
    let enters = SeenCalls::of(evidence, |row| call::is_uring(row.number));
    let said = format!(
        "an io_uring is in use ({}), and nothing else: which sockets its operations sent to is not \
         seen",
        enters.names(),
    );
    let fix = "explain it while its connections are open: what left by them is then told";
    (enters.calls > 0 && account.parts.is_empty()).then(|| told(Reason::R10, 0, said, fix))
}

fn other_sockets(evidence: &Evidence) -> Option<Finding> {
    let is_tcp: BTreeSet<u64> = evidence.sockets.iter().map(|socket| socket.inode).collect();
    let is_elsewhere = |row: &Calls| {
        let is_other =
            |target: FileId| target.kind == FileKind::Socket && !is_tcp.contains(&target.inode);
        matches!(call::role(row.number), Some(Role::Give | Role::Pass))
            && row.target.is_some_and(is_other)
    };
    let seen = SeenCalls::of(evidence, is_elsewhere);
    let sockets: BTreeSet<Option<FileId>> =
        evidence.calls.iter().filter(|row| is_elsewhere(row)).map(|row| row.target).collect();
    let said = format!(
        "{} bytes to {} that are not TCP (Unix, UDP, MPTCP): their pages are not seen",
        seen.did("gave"),
        of(sockets.len() as u64, "socket"),
    );
    let fix = "none: what becomes of them is not known";
    (seen.bytes >= WORTH_TELLING_BYTES).then(|| told(Reason::R0, seen.bytes, said, fix))
}

fn of_32_bits(evidence: &Evidence, context: &Context) -> Option<Finding> {
    let such = evidence.processes.iter().filter(|process| process.is_32_bit);
    let such: BTreeSet<u32> = such.map(|process| process.process).collect();
    let said = format!(
        "{}: made calls of 32 bits, whose numbers and arguments are others: what such calls sent \
         is in no count above",
        context.programs_of(&such),
    );
    (!such.is_empty()).then(|| told(Reason::R0, 0, said, "watch a build of 64 bits"))
}

fn lost(evidence: &Evidence) -> Option<Finding> {
    let lost = of(evidence.lost, "event");
    let said = format!("{lost} found the tables full: every count above is a lower bound");
    let fix = "watch for a shorter time, or fewer processes";
    (evidence.lost > 0).then(|| told(Reason::R0, 0, said, fix))
}
