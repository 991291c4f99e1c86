//! What strace and the client saw of the bytes that left.
//!
//! strace tells what each call returned, and of sendfile(2) the file. It does not tell whose bytes
//! a write(2) gave; but the client has the whole of every file, and what did not come by sendfile
//! or splice came by a call that copies. The rest of what was given are heads.

use std::collections::{BTreeMap, BTreeSet};

use underpass_testkit::strace::Call;

/// What a client got of a file.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) file: String,
    /// As many as came over the network; none if only what is passed is of the file.
    pub(crate) bytes: Option<u64>,
    /// Whether these are other bytes than those of the file: compressed ones.
    pub(crate) is_transformed: bool,
}

/// Bytes of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) by_reference: u64,
    pub(crate) copied: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    pub(crate) files: BTreeMap<String, Sent>,
    /// Bytes that left and are of no file.
    pub(crate) other: u64,
    pub(crate) connections: usize,
    /// Whether a file was read into memory, and whether one was mapped.
    pub(crate) is_read: bool,
    pub(crate) is_mapped: bool,
    /// Whether what the clients got is not what is in the files. No one can tell then where a head
    /// ends and content begins.
    pub(crate) is_transformed: bool,
}

const PASS: [&str; 2] = ["sendfile", "splice"];
const GIVE: [&str; 6] = ["write", "writev", "pwritev2", "sendto", "sendmsg", "sendmmsg"];
const READ: [&str; 5] = ["read", "pread64", "readv", "preadv", "preadv2"];

impl Truth {
    pub(crate) fn of(calls: &[Call], bodies: &[Body]) -> Self {
        let mut truth = Self::default();
        for body in bodies {
            let sent = truth.files.entry(body.file.clone()).or_default();
            sent.copied += body.bytes.unwrap_or_else(|| passed(calls, &body.file));
            truth.is_transformed |= body.is_transformed;
        }
        let (mut left, mut sockets) = (0, BTreeSet::new());
        for call in calls {
            let name = call.name.as_str();
            let bytes = match call.returned {
                Some(bytes) => u64::try_from(bytes).unwrap_or(0),
                None => truth.unreturned(call),
            };
            if let Some(socket) = target(call).filter(|_| bytes > 0) {
                left += bytes;
                sockets.insert(socket);
            }
            for (file, sent) in &mut truth.files {
                if !is_of(call, file) {
                    continue;
                }
                truth.is_read |= READ.contains(&name) && bytes > 0;
                truth.is_mapped |= name == "mmap";
                if PASS.contains(&name) {
                    sent.by_reference += bytes;
                    sent.copied -= bytes;
                }
            }
        }
        truth.connections = sockets.len();
        truth.other =
            left - truth.files.values().map(|sent| sent.by_reference + sent.copied).sum::<u64>();
        truth
    }

    /// What a call moved that has not returned: all that the client has of the file it passes, or,
    /// if it gives memory, of all files. No other gave any of them then.
    fn unreturned(&self, call: &Call) -> u64 {
        let is_one_of = |names: &[&str]| names.contains(&call.name.as_str());
        let is_moved = |file: &str| is_one_of(&GIVE) || is_one_of(&PASS) && is_of(call, file);
        let moved = self.files.iter().filter(|(file, _)| is_moved(file));
        moved.map(|(_, sent)| sent.copied).sum()
    }

    pub(crate) fn by_reference(&self) -> u64 {
        self.files.values().map(|sent| sent.by_reference).sum()
    }

    pub(crate) fn copied(&self) -> u64 {
        self.files.values().map(|sent| sent.copied).sum()
    }

    /// What is to be told as copied: heads as well, where they cannot be told apart.
    pub(crate) fn told(&self) -> u64 {
        if self.is_transformed { self.copied() + self.other } else { self.copied() }
    }

    /// The bytes of the one reason there is: those of files, or all that was relayed.
    pub(crate) fn reasoned(&self) -> u64 {
        if self.files.is_empty() { self.left() } else { self.told() }
    }

    pub(crate) fn left(&self) -> u64 {
        self.by_reference() + self.copied() + self.other
    }
}

/// The path of one in another mount namespace is told from that one's root.
fn is_of(call: &Call, file: &str) -> bool {
    call.arguments.contains(&format!("{file}>"))
}

/// Bytes of a file that were passed by reference.
fn passed(calls: &[Call], file: &str) -> u64 {
    let passing = calls.iter().filter(|call| PASS.contains(&call.name.as_str()));
    let answers = passing.filter(|call| is_of(call, file)).filter_map(|call| call.returned);
    answers.filter_map(|bytes| u64::try_from(bytes).ok()).sum()
}

/// The TCP socket that a call gave bytes to.
fn target(call: &Call) -> Option<&str> {
    let mut arguments = call.arguments.split(", ");
    let argument = match call.name.as_str() {
        "splice" => arguments.nth(2)?,
        name if name == "sendfile" || GIVE.contains(&name) => arguments.next()?,
        _ => return None,
    };
    argument.contains("<TCP").then(|| argument.split_once('<').map(|(_, socket)| socket))?
}

#[test]
fn bytes_are_told_apart_by_what_moved_them_and_by_what_the_client_has() {
    let call = |name: &str, arguments: &str, returned| Call {
        thread: 1,
        name: name.into(),
        arguments: arguments.into(),
        returned: Some(returned),
        errno: None,
        is_injected: false,
    };
    let calls = [
        call("read", "5</w/a>, \"\"..., 512", 512),
        call("writev", "4<TCP:[1:2->3:4]>, [{iov_base=\"HT\"..., iov_len=612}], 1", 612),
        call("sendfile", "4<TCP:[1:2->3:4]>, 5</w/a>, [512] => [1512], 1000", 1_000),
        call("sendfile", "4<TCP:[1:2->3:4]>, 5</w/a>, [1512], 1000", -1),
        call("splice", "7<pipe:[9]>, NULL, 8<TCPv6:[[::1]:2->[::1]:4]>, NULL, 9, 0", 70),
        call("write", "1</w/log>, \"a\", 1", 1),
        call("mmap", "NULL, 9, PROT_READ, MAP_SHARED, 5</w/b>, 0", 0),
    ];
    let body = |file: &str, bytes| Body { file: file.into(), bytes, is_transformed: false };
    let truth = Truth::of(&calls, &[body("/w/a", Some(1_512)), body("/w/b", Some(60))]);
    let sent = |file: &str| (truth.files[file].by_reference, truth.files[file].copied);
    assert_eq!((sent("/w/a"), sent("/w/b")), ((1_000, 512), (0, 60)));
    assert_eq!((truth.other, truth.connections), (1_682 - 1_572, 2));
    assert!(truth.is_read && truth.is_mapped);
    let truth = Truth::of(&calls, &[body("/w/a", None)]);
    assert_eq!((truth.by_reference(), truth.copied(), truth.other), (1_000, 0, 682));
    let [mut held, head] = [&calls[2], &calls[1]].map(Call::clone);
    held.returned = None;
    let truth = Truth::of(&[head, held], &[body("/w/a", Some(300))]);
    assert_eq!((truth.by_reference(), truth.copied(), truth.other), (300, 0, 612));
    let mut held = calls[1].clone();
    held.returned = None;
    let truth = Truth::of(&[calls[1].clone(), held], &[body("/w/a", Some(300))]);
    assert_eq!((truth.by_reference(), truth.copied(), truth.other), (0, 300, 612));
}
