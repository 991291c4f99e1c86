//! Reasons next to the account's: R6, R7, R9, R11, and what is not known, R0.

use std::collections::BTreeSet;

use crate::account::context::{Context, InterfaceKey};
use crate::account::{Account, Class, Way, tcp_inodes};
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
    let mut findings = Vec::new();
    findings.extend(looped(evidence, context));
    findings.extend(too_small(evidence, context));
    findings.extend(file_to_file(evidence, context));
    findings.extend(sent_again(evidence));
    findings.extend(from_memory(account, context));
    findings.extend(from_pipe(account));
    findings.extend(not_accounted(account));
    findings.extend(other_sockets(evidence));
    findings.extend(of_32_bits(evidence, context));
    findings.extend(lost(evidence));
    findings
}

fn is_zero_copy_to_socket(row: &Calls) -> bool {
    row.is_zero_copy && row.target.is_some_and(|target| target.kind == FileKind::Socket)
}

fn programs(evidence: &Evidence, context: &Context, fits: impl Fn(&Calls) -> bool) -> String {
    let processes: BTreeSet<u32> =
        evidence.calls.iter().filter(|row| fits(row)).map(|row| row.process).collect();
    context.programs_of(&processes)
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
    (bytes > 0).then(|| Finding {
        reason: Reason::R6,
        bytes,
        evidence: format!(
            "{}: {} bytes were lent with MSG_ZEROCOPY and left by the loopback interface, where \
             the kernel copies lent memory before the receiver gets it",
            programs(evidence, context, is_zero_copy_to_socket),
            count(bytes),
        ),
        fix: "leave MSG_ZEROCOPY off towards peers on this machine, or sendfile(2) the file".into(),
    })
}

fn too_small(evidence: &Evidence, context: &Context) -> Option<Finding> {
    let seen = SeenCalls::of(evidence, is_zero_copy_to_socket);
    let average = seen.bytes.checked_div(seen.calls)?;
    (average < ZERO_COPY_PAYS_FROM_BYTES).then(|| Finding {
        reason: Reason::R7,
        bytes: seen.bytes,
        evidence: format!(
            "{}: {} with MSG_ZEROCOPY sent {} bytes, {} each on average; below {} pinning pages \
             costs more than copying them",
            programs(evidence, context, is_zero_copy_to_socket),
            seen.names(),
            count(seen.bytes),
            count(average),
            count(ZERO_COPY_PAYS_FROM_BYTES),
        ),
        fix: "send without MSG_ZEROCOPY, or more at a time".into(),
    })
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
        let fits = |row: &Calls| is_copy(row) && file_system(row) == name;
        let seen = SeenCalls::of(evidence, fits);
        let on = name.map_or_else(|| "a file system not known".into(), Clone::clone);
        Finding {
            reason: Reason::R9,
            bytes: seen.bytes,
            evidence: format!(
                "{}: {} moved {} bytes from file to file on {on}; each page was copied to a page \
                 of the other file",
                programs(evidence, context, fits),
                seen.names(),
                count(seen.bytes),
            ),
            fix: "copy_file_range(2) on a file system that shares extents (btrfs, or xfs with \
                  reflink=1)"
                .into(),
        }
    };
    names.into_iter().map(finding).filter(|finding| finding.bytes > 0).collect()
}

fn sent_again(evidence: &Evidence) -> Option<Finding> {
    let again: u64 = evidence.sockets.iter().map(|socket| socket.retransmitted_bytes).sum();
    let pages = evidence.sockets.iter().flat_map(|socket| &socket.sent);
    let once: u64 = pages.map(|pages| pages.bytes).sum();
    (again > once / 100).then(|| Finding {
        reason: Reason::R11,
        bytes: again,
        evidence: format!(
            "{} bytes left again, {} of {} that left",
            count(again),
            share(again, once),
            count(once)
        ),
        fix: "none here: the network lost them or answered late; ss -ti shows the connections"
            .into(),
    })
}

fn from_memory(account: &Account, context: &Context) -> Option<Finding> {
    let memory = account.sum(|part| part.way == Way::Memory);
    let all = account.sum(|_| true);
    let (or_before, fix) = if context.is_from_start {
        (
            "before anything was sent, or of the system's own files",
            "none: of what a program makes of its memory no more is seen",
        )
    } else {
        let fix = "'underpass explain -- COMMAND' sees what is read from the start";
        ("before the watch, before anything was sent, or of the system's own files", fix)
    };
    (memory >= WORTH_TELLING_BYTES && memory >= all / 10).then(|| Finding {
        reason: Reason::R0,
        bytes: memory,
        evidence: format!(
            "{} bytes left from memory of the processes, and no file that was read accounts for \
             them: made up by the program, headers, received, read through a mapping, or read \
             {or_before}",
            count(memory),
        ),
        fix: fix.into(),
    })
}

fn from_pipe(account: &Account) -> Option<Finding> {
    let piped = account.sum(|part| part.way == Way::FromPipe);
    let all = account.sum(|_| true);
    (piped >= WORTH_TELLING_BYTES && piped >= all / 10).then(|| Finding {
        reason: Reason::R0,
        bytes: piped,
        evidence: format!(
            "{} bytes came through a pipe that no watched process filled, or before the watch: \
             whether they are a file's is not seen",
            count(piped),
        ),
        fix: "watch the one that fills the pipe, too: both by their parent, or explain -- sh -c \
              'FILLER | SENDER'"
            .into(),
    })
}

fn not_accounted(account: &Account) -> Option<Finding> {
    let unseen = account.sum(|part| part.way == Way::Unseen);
    let files = account.sum(|part| part.way.class() != Class::NotAFile);
    (unseen >= WORTH_TELLING_BYTES || unseen > files).then(|| Finding {
        reason: Reason::R0,
        bytes: unseen,
        evidence: format!(
            "{} bytes left the sockets that no call of a watched process accounts for: another \
             process sent them, or a call that began before the watch",
            count(unseen),
        ),
        fix: "watch the process that shares the sockets, or all of them by their parent".into(),
    })
}

fn other_sockets(evidence: &Evidence) -> Option<Finding> {
    let is_tcp = tcp_inodes(evidence);
    let is_elsewhere = |row: &Calls| {
        let moves = matches!(call::role(row.number), Some(Role::Give | Role::Pass));
        moves
            && row.target.is_some_and(|target| {
                target.kind == FileKind::Socket && !is_tcp.contains(&target.inode)
            })
    };
    let seen = SeenCalls::of(evidence, is_elsewhere);
    let sockets: BTreeSet<Option<FileId>> =
        evidence.calls.iter().filter(|row| is_elsewhere(row)).map(|row| row.target).collect();
    (seen.bytes >= WORTH_TELLING_BYTES).then(|| Finding {
        reason: Reason::R0,
        bytes: seen.bytes,
        evidence: format!(
            "{} gave {} bytes to {} that are not TCP (Unix, UDP): their pages are not seen",
            seen.names(),
            count(seen.bytes),
            of(sockets.len() as u64, "socket"),
        ),
        fix: "none: what becomes of them is not known".into(),
    })
}

fn of_32_bits(evidence: &Evidence, context: &Context) -> Option<Finding> {
    let such = evidence.processes.iter().filter(|process| process.is_32_bit);
    let such: BTreeSet<u32> = such.map(|process| process.process).collect();
    (!such.is_empty()).then(|| Finding {
        reason: Reason::R0,
        bytes: 0,
        evidence: format!(
            "{}: made calls of 32 bits, whose numbers and arguments are others: what such calls \
             sent is in no count above",
            context.programs_of(&such),
        ),
        fix: "watch a build of 64 bits".into(),
    })
}

fn lost(evidence: &Evidence) -> Option<Finding> {
    (evidence.lost > 0).then(|| Finding {
        reason: Reason::R0,
        bytes: 0,
        evidence: format!(
            "{} found the tables full: every count above is a lower bound",
            of(evidence.lost, "event"),
        ),
        fix: "watch for a shorter time, or fewer processes".into(),
    })
}
