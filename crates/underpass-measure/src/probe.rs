//! The probe: programs in the kernel that note what followed processes call, and where the
//! payload of their sockets is when it leaves.
//!
//! It needs `CAP_BPF` and `CAP_PERFMON`, and the kernel's type information; no compiler, and
//! nothing of tracefs. What it costs: a few hundred nanoseconds a call of a followed process, some
//! ten for every other; and a microsecond or so for every TCP packet with payload that the machine
//! sends, a stranger's too, because packets leave in anybody's context.
//!
//! A kernel may be made to run no such program while a certain process runs, as sandboxes do to
//! protect the one that manages them. Packets that a timer sends in that process's time, mostly
//! retransmissions, are then not seen, and nothing tells of them.
//!
//! Source: bpf(2); capabilities(7); `Documentation/bpf/`.

mod layout;
mod names;
mod object;
mod toll;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use underpass_sys::bpf::{self, Map};

use crate::evidence::{Calls, Evidence, FileId, FileKind, Mapped, Memory, Named, Received};
use crate::proc::Proc;
use names::Mounts;
use object::Programs;
pub(crate) use toll::Tolls;

/// Why there is no probe, or none any more.
#[derive(Debug, thiserror::Error)]
#[error("{told}")]
pub struct ProbeError {
    told: String,
    /// The end of what the verifier said of a program that it refused; too much for a message.
    _verifier: String,
}

impl ProbeError {
    fn new(told: impl Into<String>) -> Self {
        Self { told: told.into(), _verifier: String::new() }
    }

    fn failed(tried: &str, source: Errno) -> Self {
        Self::new(match source {
            Errno::PERM => "bpf is not permitted; it takes root, or CAP_BPF and CAP_PERFMON".into(),
            _ => format!("{tried} failed: {source}"),
        })
    }

    fn types(source: impl std::fmt::Display) -> Self {
        let needed = "the kernel's types cannot be read; it needs CONFIG_DEBUG_INFO_BTF";
        Self::new(format!("{needed}: {source}"))
    }
}

impl From<Errno> for ProbeError {
    fn from(source: Errno) -> Self {
        Self::failed("bpf(2)", source)
    }
}

/// Programs that watch, until it is dropped.
#[derive(Debug)]
pub struct Probe {
    maps: HashMap<String, Map>,
    programs: Vec<Loaded>,
    _lasting: Vec<OwnedFd>,
    /// What looks; empty while it rests.
    looking: Vec<OwnedFd>,
    look: u32,
    toll: Duration,
    known: Mutex<Known>,
}

/// What was found out, and is not asked again.
#[derive(Debug, Default)]
struct Known {
    /// A file that is deleted since keeps its name.
    names: Arc<BTreeMap<FileId, Named>>,
    /// Files that are not where the kernel said.
    gone: HashSet<FileId>,
    /// Sockets that no call names: whose ring they are of, if they are of one.
    of_rings: HashMap<u64, Option<u32>>,
}

/// What a probe looks at: each tracepoint costs those who pass it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Calls, and what leaves; nothing is received, and no process has faults.
    Sending,
    /// All that [`Evidence`] has room for.
    Everything,
}

/// A program that the kernel took, and its tracepoint.
type Loaded = (OwnedFd, &'static str);

/// Rare or cheap ones, that keep in order who is followed and which sockets there are.
const LASTING: [&str; 6] = [
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "tcp_destroy_sock",
    "inet_sock_set_state",
    // Counts what leaves, in rests too, and looks at it in looks.
    "net_dev_start_xmit",
];

/// The first [`SENDING`] of them see what is sent.
const LOOKING: [&str; 3] = ["sys_exit", "skb_copy_datagram_iovec", "page_fault_user"];

const SENDING: usize = 1;

/// In the number of a look, that it has ended.
const RESTING: u64 = 1 << 63;

/// The inode of the first PID namespace (linux/proc_ns.h, `PROC_PID_INIT_INO`).
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

impl Probe {
    /// Loads and attaches the programs; nothing is followed yet.
    ///
    /// # Errors
    ///
    /// Without the capabilities, without the kernel's type information, and where this kernel
    /// differs from those known.
    pub fn load(sight: Sight) -> Result<Self, ProbeError> {
        let architecture = std::env::consts::ARCH;
        if architecture != "x86_64" {
            let told = format!("calls cannot be read on {architecture}; x86_64 is known");
            return Err(ProbeError::new(told));
        }
        let tracepoints = match sight {
            Sight::Sending => &LOOKING[..SENDING],
            Sight::Everything => &LOOKING,
        };
        let namespace = own_namespace();
        let load = |directly| {
            let programs = Programs::new(namespace, directly)?;
            let looking = load_all(&programs, tracepoints)?;
            let lasting = load_all(&programs, &LASTING)?;
            Ok((programs, looking, lasting))
        };
        let (from, programs, lasting) = load(true).or_else(|_: ProbeError| load(false))?;
        let lasting = attach_all(&lasting)?;
        let maps = from.maps;
        let toll = Duration::ZERO;
        let (looking, known) = (Vec::new(), Mutex::default());
        let mut probe = Self { maps, programs, _lasting: lasting, looking, look: 0, toll, known };
        let bare = toll::trial();
        probe.look()?;
        probe.toll = toll::trial().saturating_sub(bare);
        Ok(probe)
    }

    /// Looks again after a [`rest`](Self::rest). Of what happened meanwhile it is
    /// known how much left, by whose sockets, who was born and who ended.
    ///
    /// # Errors
    ///
    /// If a program cannot be attached.
    pub fn look(&mut self) -> Result<(), ProbeError> {
        if !self.looking.is_empty() {
            return Ok(());
        }
        self.look = self.look.wrapping_add(1).max(1);
        // Calls first: what is seen to leave has a call then.
        self.set_look(RESTING)?;
        self.looking = attach_all(&self.programs)?;
        self.set_look(0)
    }

    fn set_look(&self, resting: u64) -> Result<(), ProbeError> {
        let value = (u64::from(self.look) | resting).to_ne_bytes();
        Ok(self.maps["look"].set(&0_u32.to_ne_bytes(), &value)?)
    }

    /// Sees nothing until the next [`look`](Self::look), and only counts what leaves.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be told.
    pub fn rest(&mut self) -> Result<(), ProbeError> {
        self.set_look(RESTING)?;
        self.looking.clear();
        Ok(())
    }

    /// What has left in pages of files, and otherwise, also in rests: by sockets that followed
    /// processes were seen to use, or to close.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn left(&self) -> Result<[u64; 2], ProbeError> {
        let left = self.maps["left"].get(&0_u32.to_ne_bytes())?;
        Ok(left.map_or([0; 2], |value| layout::left(&value)))
    }

    /// The same, and what left by sockets that they have open and no call has named.
    ///
    /// # Errors
    ///
    /// If the maps cannot be read.
    pub fn left_by_all(&self) -> Result<[u64; 2], ProbeError> {
        // First: what is claimed meanwhile is then in neither, and not in both.
        let left = self.left()?;
        let processes = self.followed()?.into_iter().filter_map(Proc::open);
        let open = processes.flat_map(|process| process.descriptors().collect::<Vec<_>>());
        let sockets = open.filter(|(_, file, _)| file.kind == FileKind::Socket);
        let open: BTreeSet<u64> = sockets.map(|(_, file, _)| file.inode).collect();
        let alive = self.maps["sockets"].entries()?;
        let unclaimed = alive.iter().filter_map(|(_, value)| layout::unclaimed(value));
        let unclaimed = unclaimed.filter(|(inode, _)| open.contains(inode));
        let sum = |[of_files, others]: [u64; 2], (_, more): (u64, [u64; 2])| {
            [of_files + more[0], others + more[1]]
        };
        Ok(unclaimed.fold(left, sum))
    }

    /// What looking has cost so far.
    pub(crate) fn tolls(&self) -> Result<Tolls, ProbeError> {
        self.rows("tolls", |_, value| layout::number(value)).map(Tolls)
    }

    /// What one toll is: the time by which looking makes a system call longer, as it was measured
    /// when the probe was loaded.
    #[must_use]
    pub const fn toll(&self) -> Duration {
        self.toll
    }

    /// Watches a process, with all its threads, and whatever it forks from now on.
    ///
    /// # Errors
    ///
    /// If too many are watched.
    pub fn follow(&self, process: u32) -> Result<(), ProbeError> {
        let (followed, key) = (&self.maps["followed"], process.to_ne_bytes());
        // What is known of it stays known.
        if followed.get(&key)?.is_none() {
            followed.set(&key, &followed.zeros()).map_err(|errno| match errno {
                Errno::TOOBIG => ProbeError::new("no more than 4,096 processes can be followed"),
                errno => errno.into(),
            })?;
            self.note_program(process)?;
        }
        Ok(())
    }

    /// The kernel tells of a program when it is executed, and this one was before.
    fn note_program(&self, process: u32) -> Result<(), Errno> {
        let (processes, key) = (&self.maps["processes"], process.to_ne_bytes());
        let executable = std::fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
        let name = executable.file_name().unwrap_or_default();
        if processes.get(&key)?.is_some() {
            return Ok(());
        }
        processes.set(&key, &layout::process_named(name.as_bytes(), processes.zeros()))
    }

    /// Forgets a process that ended before it was followed, of whose end the kernel does not tell:
    /// its number would be believed of the next one to have it.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn unfollow(&self, process: u32) -> Result<(), ProbeError> {
        Ok(self.maps["followed"].remove(&process.to_ne_bytes())?)
    }

    /// Who is followed: of those that were, all that have not ended.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn followed(&self) -> Result<BTreeSet<u32>, ProbeError> {
        self.rows("followed", |key, _| layout::process_in(key)).map(BTreeSet::from_iter)
    }

    /// What was seen since the probe was loaded. Counts are those of one moment only if the
    /// processes are quiet.
    ///
    /// # Errors
    ///
    /// If the maps cannot be read.
    pub fn evidence(&self) -> Result<Evidence, ProbeError> {
        // Pages first: those of a server that is busy would have no call, if calls were older.
        let sent = self.maps["sent"].entries()?;
        let calls = self.rows("calls", layout::calls)?;
        let followed = self.followed()?;
        let waiting = followed.iter().flat_map(|process| waiting::calls_of(*process));
        let under_way: Vec<Calls> = waiting.collect();
        let sent_by = sent.iter().map(|(key, _)| layout::number(key)).collect();
        let used = self.used(calls.iter().chain(&under_way), &followed, sent_by);
        let (mut sockets, mut strangers) = (BTreeMap::new(), HashSet::new());
        for (key, value) in self.maps["names"].entries()? {
            let inode = layout::number(&key);
            let mut socket = layout::socket(inode, &value);
            if socket.process == 0 {
                let Some(&process) = used.get(&inode) else {
                    strangers.insert(inode);
                    continue;
                };
                // It stays known when it ends, though no call of theirs has named it.
                self.maps["names"].set(&key, &layout::name_used(process, &value))?;
                socket.process = process;
            }
            sockets.insert(inode, socket);
        }
        for (key, value) in sent {
            let (inode, pages) = layout::pages(&key, &value);
            match (sockets.get_mut(&inode), pages) {
                (Some(socket), Ok(pages)) => socket.sent.push(pages),
                (Some(socket), Err(again)) => socket.retransmitted_bytes += again,
                (None, _) if strangers.contains(&inode) => {}
                // A stranger's that has ended.
                (None, _) => self.maps["sent"].remove(&key)?,
            }
        }
        let mut received = Vec::new();
        for (process, pages) in self.rows("received", layout::pages)? {
            let process = u32::try_from(process).unwrap_or(0);
            received.extend(pages.map(|pages| Received { process, pages }));
        }
        let mapped = self.rows("mapped", layout::mapped)?;
        let mut processes = self.rows("processes", layout::process)?;
        for process in &mut processes {
            process.has_ended = !followed.contains(&process.process);
        }
        Ok(Evidence {
            names: self.names_of(&calls, &mapped)?,
            calls,
            under_way,
            sockets: sockets.into_values().collect(),
            received,
            processes,
            mapped,
            lost: self.rows("lost", |_, value| layout::number(value))?.into_iter().sum(),
            has_gaps: self.look > 1 || self.looking.is_empty(),
        })
    }

    fn rows<T>(&self, map: &str, read: fn(&[u8], &[u8]) -> T) -> Result<Vec<T>, ProbeError> {
        Ok(self.maps[map].entries()?.iter().map(|(key, value)| read(key, value)).collect())
    }

    /// Who used a socket first: of those that a call names, and of those that sent by a ring. All
    /// others are strangers'.
    fn used<'a>(
        &self,
        calls: impl Iterator<Item = &'a Calls>,
        followed: &BTreeSet<u32>,
        mut sent_by: HashSet<u64>,
    ) -> HashMap<u64, u32> {
        let mut used: HashMap<u64, u32> = HashMap::new();
        for row in calls {
            for file in [row.source, row.target].into_iter().flatten() {
                if file.kind == FileKind::Socket {
                    used.entry(file.inode).or_insert(row.process);
                }
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of_rings = &mut known.of_rings;
        of_rings.retain(|inode, _| sent_by.contains(inode));
        sent_by.retain(|inode| !used.contains_key(inode) && !of_rings.contains_key(inode));
        if !sent_by.is_empty() {
            for process in followed {
                let sockets = waiting::sockets_of_ring(*process).into_iter();
                let found = sockets.filter(|inode| sent_by.contains(inode));
                of_rings.extend(found.map(|inode| (inode, Some(*process))));
            }
        }
        for inode in sent_by {
            of_rings.entry(inode).or_insert(None);
        }
        for (inode, process) in of_rings.iter().filter_map(|(inode, of)| Some((inode, (*of)?))) {
            used.entry(*inode).or_insert(process);
        }
        used
    }

    /// Where the files are that were used.
    fn names_of(
        &self,
        calls: &[Calls],
        mapped: &[Mapped],
    ) -> Result<Arc<BTreeMap<FileId, Named>>, ProbeError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { names, gone, .. } = &mut *known;
        let mut mounts = Mounts::default();
        let of_calls = calls.iter().flat_map(|row| {
            let memory = match row.memory {
                Memory::File(file) => Some(file),
                Memory::None | Memory::Own | Memory::NotSeen => None,
            };
            [row.source, row.target, memory].into_iter().flatten().map(|file| (row.process, file))
        });
        let mapped = mapped.iter().map(|mapped| (mapped.process, mapped.file));
        for (process, file) in of_calls.chain(mapped) {
            let is_known = names.contains_key(&file) || gone.contains(&file);
            if file.kind != FileKind::Regular || is_known {
                continue;
            }
            let Some(found) = self.maps["paths"].get(&layout::path_key(file))? else { continue };
            match mounts.name_of(process, file, &layout::path(&found)) {
                Some(name) => drop(Arc::make_mut(names).insert(file, name)),
                None => drop(gone.insert(file)),
            }
        }
        Ok(Arc::clone(names))
    }
}

/// The inode of this process's PID namespace, 0 for the first.
fn own_namespace() -> u32 {
    let inode = std::fs::metadata("/proc/self/ns/pid").map_or(FIRST_NAMESPACE, |own| own.ino());
    if inode == FIRST_NAMESPACE { 0 } else { u32::try_from(inode).unwrap_or(0) }
}

fn load_all(programs: &Programs, names: &[&'static str]) -> Result<Vec<Loaded>, ProbeError> {
    names.iter().map(|name| Ok((programs.load(name)?, *name))).collect()
}

fn attach_all(programs: &[Loaded]) -> Result<Vec<OwnedFd>, ProbeError> {
    let attach = |(program, name): &Loaded| {
        let tracepoint = CString::new(*name).unwrap_or_default();
        let attached = bpf::attach_raw_tracepoint(program.as_fd(), &tracepoint);
        attached.map_err(|source| ProbeError::failed(name, source))
    };
    programs.iter().map(attach).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use underpass_testkit::skip::Capability::Root;
    use underpass_testkit::{require, wait};

    use super::*;

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    fn inode(socket: &TcpStream) -> u64 {
        rustix::fs::fstat(socket).unwrap().st_ino
    }

    fn send(bytes: &[u8], (near, far): &mut (TcpStream, TcpStream)) {
        near.write_all(bytes).unwrap();
        far.read_exact(&mut vec![0; bytes.len()]).unwrap();
    }

    #[test]
    fn of_strangers_that_have_ended_nothing_is_kept() {
        require!(Root);
        let probe = Probe::load(Sight::Sending).unwrap();
        let mut pair = connection();
        let stranger = inode(&pair.0);
        send(b"a", &mut pair);
        let known = |map: &str| {
            let entries = probe.maps[map].entries().unwrap();
            entries.iter().any(|(key, _)| layout::number(key) == stranger)
        };
        assert!(known("names") && known("sent"));
        drop(pair);
        let forgotten = wait::until(Duration::from_secs(10), || (!known("names")).then_some(()));
        assert_eq!(forgotten, Some(()));
        assert_eq!(probe.evidence().unwrap().sockets, []);
        assert!(!known("sent"));
    }

    /// Changes what is known of a socket that is alive.
    fn with_known(probe: &Probe, inode: u64, change: impl Fn(&mut [u8])) {
        let sockets = &probe.maps["sockets"];
        for (address, mut value) in sockets.entries().unwrap() {
            if layout::number(&value) == inode {
                change(&mut value);
                sockets.set(&address, &value).unwrap();
            }
        }
    }

    #[test]
    fn what_left_in_an_earlier_look_and_leaves_again_is_told_as_that() {
        require!(Root);
        let mut probe = Probe::load(Sight::Sending).unwrap();
        probe.follow(std::process::id()).unwrap();
        let mut pair = connection();
        let socket = inode(&pair.0);
        send(b"abc", &mut pair);
        // As if what is sent now had left before; and after a long rest.
        for (ahead, again) in [(5_u32, 5), (3 << 29, 5)] {
            probe.rest().unwrap();
            probe.look().unwrap();
            with_known(&probe, socket, |known| {
                let next = u32::from_ne_bytes(known[8..12].try_into().unwrap());
                known[8..12].copy_from_slice(&next.wrapping_add(ahead).to_ne_bytes());
            });
            send(b"defgh", &mut pair);
            let evidence = probe.evidence().unwrap();
            let seen = evidence.sockets.iter().find(|seen| seen.inode == socket);
            assert_eq!(seen.unwrap().retransmitted_bytes, again, "{ahead}");
        }
    }

    #[test]
    fn a_socket_at_the_address_of_one_whose_end_was_not_seen_is_another() {
        require!(Root);
        let probe = Probe::load(Sight::Sending).unwrap();
        let mut pair = connection();
        send(b"a", &mut pair);
        with_known(&probe, inode(&pair.0), |known| {
            known[..8].copy_from_slice(&u64::MAX.to_ne_bytes());
        });
        // By a packet, and by a call.
        for is_followed in [false, true] {
            if is_followed {
                probe.follow(std::process::id()).unwrap();
            }
            send(b"bc", &mut pair);
            let entries = probe.maps["sent"].entries().unwrap();
            let owners: Vec<u64> = entries.iter().map(|(key, _)| layout::number(key)).collect();
            assert!(owners.contains(&inode(&pair.0)) && !owners.contains(&u64::MAX));
        }
        let evidence = probe.evidence().unwrap();
        let socket = evidence.sockets.iter().find(|socket| socket.inode == inode(&pair.0));
        assert_eq!(socket.unwrap().process, std::process::id());
    }
}
