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
mod maps;
mod names;
mod object;
mod toll;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::error::Error;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use underpass_sys::bpf;

use crate::evidence::{Calls, Evidence, FileId, FileKind, Mapped, Memory, Named, Received, Socket};
use maps::{Entry, Map};
use names::Mounts;
use object::Programs;
pub(crate) use toll::Tolls;

/// Why there is no probe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Arguments of calls are known for x86-64 only.
    #[error("calls cannot be read on {architecture}; x86_64 is known")]
    Architecture {
        /// This one.
        architecture: &'static str,
    },
    /// The kernel does not tell its types.
    #[error("the kernel's types cannot be read; it needs CONFIG_DEBUG_INFO_BTF")]
    Types(#[source] Box<dyn Error + Send + Sync>),
    /// bpf(2) is not permitted.
    #[error("bpf is not permitted; it takes root, or CAP_BPF and CAP_PERFMON")]
    Forbidden,
    /// The kernel refused a program.
    #[error("the kernel refused the program for {tracepoint} ({errno})\n{said}")]
    Refused {
        /// What it was for.
        tracepoint: &'static str,
        /// What the kernel answered.
        errno: Errno,
        /// The last of what the verifier said.
        said: String,
    },
    /// A call failed.
    #[error("{call} failed")]
    Call {
        /// What was tried.
        call: &'static str,
        /// The errno.
        source: Errno,
    },
}

impl ProbeError {
    fn types(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Types(source.into())
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

/// Rare ones, that keep in order who is followed and which sockets there are.
const LASTING: [&str; 4] =
    ["sched_process_fork", "sched_process_exec", "sched_process_exit", "tcp_destroy_sock"];

/// The first [`SENDING`] of them see what leaves.
const LOOKING: [&str; 4] =
    ["net_dev_start_xmit", "sys_exit", "skb_copy_datagram_iovec", "page_fault_user"];

const SENDING: usize = 2;

/// The inode of the first PID namespace (linux/proc_ns.h, `PROC_PID_INIT_INO`).
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

impl Probe {
    /// Loads and attaches the programs; nothing is followed yet.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Forbidden`] without the capabilities; [`ProbeError::Types`] without type
    /// information; the others where this kernel differs from those known.
    pub fn load(sight: Sight) -> Result<Self, ProbeError> {
        let architecture = std::env::consts::ARCH;
        if architecture != "x86_64" {
            return Err(ProbeError::Architecture { architecture });
        }
        let tracepoints = match sight {
            Sight::Sending => &LOOKING[..SENDING],
            Sight::Everything => &LOOKING,
        };
        let namespace = own_namespace();
        let load = |directly| {
            let programs = Programs::new(namespace, directly)?;
            let looking = load_all(&programs, tracepoints)?;
            Ok((programs, looking))
        };
        let (from, programs) = match load(true) {
            Err(ProbeError::Refused { .. }) => load(false)?,
            loaded => loaded?,
        };
        let lasting = attach_all(&load_all(&from, &LASTING)?)?;
        let maps = from.maps;
        let toll = Duration::ZERO;
        let (looking, known) = (Vec::new(), Mutex::default());
        let mut probe = Self { maps, programs, _lasting: lasting, looking, look: 0, toll, known };
        let bare = toll::trial();
        probe.look()?;
        probe.toll = toll::trial().saturating_sub(bare);
        Ok(probe)
    }

    /// Looks again after a [`rest`](Self::rest). What happened meanwhile is not known, but for
    /// who was born and who ended.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Call`] if a program cannot be attached.
    pub fn look(&mut self) -> Result<(), ProbeError> {
        if !self.looking.is_empty() {
            return Ok(());
        }
        self.look = self.look.wrapping_add(1).max(1);
        let value = u64::from(self.look).to_ne_bytes();
        let set = self.maps["look"].set(&0_u32.to_ne_bytes(), &value);
        set.map_err(|source| failed("beginning a look", source))?;
        self.looking = attach_all(&self.programs)?;
        Ok(())
    }

    /// Sees nothing, and costs nothing, until the next [`look`](Self::look).
    pub fn rest(&mut self) {
        self.looking.clear();
    }

    /// What looking has cost so far.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Call`] if the maps cannot be read.
    pub(crate) fn tolls(&self) -> Result<Tolls, ProbeError> {
        let entries = self.maps["tolls"].entries();
        let entries = entries.map_err(|source| failed("reading a map", source))?;
        Ok(Tolls(entries.iter().map(|(_, value)| layout::number(value)).collect()))
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
    /// [`ProbeError::Call`] if too many are watched.
    pub fn follow(&self, process: u32) -> Result<(), ProbeError> {
        let (followed, key) = (&self.maps["followed"], process.to_ne_bytes());
        let set = match followed.get(&key) {
            // What is known of it stays known.
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                followed.set(&key, &followed.zeros()).and_then(|()| self.note_program(process))
            }
            Err(source) => Err(source),
        };
        set.map_err(|source| failed("following a process", source))
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
    /// [`ProbeError::Call`] if the map cannot be written.
    pub fn unfollow(&self, process: u32) -> Result<(), ProbeError> {
        let removed = self.maps["followed"].remove(&process.to_ne_bytes());
        removed.map_err(|source| failed("forgetting a process", source))
    }

    /// Who is followed: of those that were, all that have not ended.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Call`] if the map cannot be read.
    pub fn followed(&self) -> Result<BTreeSet<u32>, ProbeError> {
        let entries = self.maps["followed"].entries();
        let entries = entries.map_err(|source| failed("reading a map", source))?;
        Ok(entries.iter().map(|(key, _)| layout::process_in(key)).collect())
    }

    /// What was seen since the probe was loaded. Counts are those of one moment only if the
    /// processes are quiet.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Call`] if the maps cannot be read.
    pub fn evidence(&self) -> Result<Evidence, ProbeError> {
        self.read().map_err(|source| failed("reading a map", source))
    }

    fn entries(&self, map: &str) -> Result<Vec<Entry>, Errno> {
        self.maps[map].entries()
    }

    fn read(&self) -> Result<Evidence, Errno> {
        // Pages first: those of a server that is busy would have no call, if calls were older.
        let sent = self.entries("sent")?;
        let entries = self.entries("calls")?;
        let calls: Vec<_> = entries.iter().map(|(key, value)| layout::calls(key, value)).collect();
        let followed = self.entries("followed")?;
        let followed: BTreeSet<u32> =
            followed.iter().map(|(key, _)| layout::process_in(key)).collect();
        let under_way: Vec<_> =
            followed.iter().flat_map(|process| waiting::calls_of(*process)).collect();
        let names = self.entries("names")?;
        let sent_by: HashSet<u64> = sent.iter().map(|(key, _)| layout::number(key)).collect();
        let used = self.used(&calls, &under_way, &followed, sent_by);
        let sockets = names.iter().filter_map(|(key, value)| {
            let inode = layout::number(key);
            let (process, mut socket) = (*used.get(&inode)?, layout::socket(inode, value));
            socket.process = if socket.process == 0 { process } else { socket.process };
            Some((inode, socket))
        });
        let mut sockets: BTreeMap<u64, Socket> = sockets.collect();
        for (key, value) in sent {
            let bytes = layout::number(&value);
            let (inode, pages) = layout::pages(&key, bytes);
            let Some(socket) = sockets.get_mut(&inode) else { continue };
            match pages {
                Some(pages) => socket.sent.push(pages),
                None => socket.retransmitted_bytes += bytes,
            }
        }
        let mut received = Vec::new();
        for (key, value) in self.entries("received")? {
            if let (process, Some(pages)) = layout::pages(&key, layout::number(&value)) {
                received.push(Received { process: u32::try_from(process).unwrap_or(0), pages });
            }
        }
        let mapped = self.entries("mapped")?;
        let mapped: Vec<_> =
            mapped.iter().filter_map(|(key, value)| layout::mapped(key, value)).collect();
        let processes = self.entries("processes")?;
        let mut processes: Vec<_> =
            processes.iter().map(|(key, value)| layout::process(key, value)).collect();
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
            lost: self.maps["lost"].number()?,
            has_gaps: self.look > 1 || self.looking.is_empty(),
        })
    }

    /// Who used a socket first: of those that a call names, and of those that sent by a ring. All
    /// others are strangers'.
    fn used(
        &self,
        calls: &[Calls],
        under_way: &[Calls],
        followed: &BTreeSet<u32>,
        mut sent_by: HashSet<u64>,
    ) -> HashMap<u64, u32> {
        let mut used: HashMap<u64, u32> = HashMap::new();
        for row in calls.iter().chain(under_way) {
            for file in [row.source, row.target].into_iter().flatten() {
                if file.kind == FileKind::Socket {
                    used.entry(file.inode).or_insert(row.process);
                }
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of_rings = &mut known.of_rings;
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
        for (inode, process) in of_rings.iter() {
            if let Some(process) = process {
                used.entry(*inode).or_insert(*process);
            }
        }
        used
    }

    /// Where the files are that were used.
    fn names_of(
        &self,
        calls: &[Calls],
        mapped: &[Mapped],
    ) -> Result<Arc<BTreeMap<FileId, Named>>, Errno> {
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
        attached.map_err(|source| ProbeError::Call { call: name, source })
    };
    programs.iter().map(attach).collect()
}

fn failed(call: &'static str, source: Errno) -> ProbeError {
    match source {
        Errno::PERM => ProbeError::Forbidden,
        _ => ProbeError::Call { call, source },
    }
}
