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

mod calls;
mod layout;
mod maps;
mod namespace;
mod offsets;
mod pages;
mod processes;
mod program;
mod receive;
mod sockets;
mod tier;
mod toll;
mod transmit;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::io::Errno;
use underpass_sys::bpf;

use crate::assembler::AssemblyError;
use crate::btf::{Btf, BtfError};
use crate::evidence::{Evidence, FileKind, Received, Socket};
use layout::u64_at;
use maps::Maps;
use namespace::Namespace;
use offsets::Offsets;
use program::Program;
pub use tier::Tier;
pub use toll::Tolls;

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
    /// The kernel does not tell its types, or lacks one.
    #[error(transparent)]
    Types(#[from] BtfError),
    /// What numbers processes have in this PID namespace cannot be known.
    #[error(
        "BPF sees other numbers of processes than this PID namespace, and the kernel does not tell \
         these; run it outside the container"
    )]
    Namespace,
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
    /// A program was written wrongly.
    #[error("the program for {tracepoint} is wrong")]
    Assembly {
        /// What it was for.
        tracepoint: &'static str,
        /// How.
        source: AssemblyError,
    },
}

/// Programs that watch, until it is dropped.
#[derive(Debug)]
pub struct Probe {
    maps: Maps,
    programs: Vec<Loaded>,
    _lasting: Vec<OwnedFd>,
    /// What looks; empty while it rests.
    looking: Vec<OwnedFd>,
    look: u32,
    toll: Duration,
}

/// What a probe looks at: each tracepoint costs those who pass it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Calls, and what leaves; nothing is received, and no process has faults or switches.
    Sending,
    /// All that [`Evidence`] has room for.
    Everything,
}

/// A program that the kernel took, and its tracepoint.
type Loaded = (OwnedFd, &'static CStr);

/// A tracepoint's name and who writes its program.
type Tracepoint = (&'static CStr, for<'p> fn(&mut Program<'p>));

/// Rare ones, that keep in order who is followed and which sockets there are.
const LASTING: [Tracepoint; 3] = [
    (c"sched_process_fork", |program| program.write_fork()),
    (c"sched_process_exit", |program| program.write_exit()),
    (c"tcp_destroy_sock", |program| program.write_forget()),
];

/// The first [`SENDING`] of them see what leaves.
const LOOKING: [Tracepoint; 6] = [
    (c"net_dev_start_xmit", |program| program.write_transmit()),
    (c"sys_exit", |program| program.write_calls()),
    (c"skb_copy_datagram_iovec", |program| program.write_receive()),
    (c"page_fault_user", |program| program.write_user_fault()),
    (c"page_fault_kernel", |program| program.write_kernel_fault()),
    (c"sched_switch", |program| program.write_switch()),
];

const SENDING: usize = 2;

/// What the verifier says of a program that it refuses can be this long.
const LOG_LEN: usize = 1 << 20;

/// Times that a program is given to the verifier.
const LOADS_MAX: u32 = 100;

/// How much of the end of it is shown.
const LOG_SHOWN: usize = 2_000;

impl Probe {
    /// Loads and attaches the programs; nothing is followed yet.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Forbidden`] without the capabilities; [`ProbeError::Namespace`] in a
    /// PID namespace whose numbers the kernel does not tell; [`ProbeError::Types`] without type
    /// information; the others where this kernel differs from those known.
    pub fn load(sight: Sight) -> Result<Self, ProbeError> {
        let architecture = std::env::consts::ARCH;
        if architecture != "x86_64" {
            return Err(ProbeError::Architecture { architecture });
        }
        let maps = Maps::new().map_err(|source| failed("making a map", source))?;
        let mut offsets = offsets_of_kernel()?.clone();
        offsets.namespace = Namespace::of_own(&offsets, &maps)?;
        let tracepoints = match sight {
            Sight::Sending => &LOOKING[..SENDING],
            Sight::Everything => &LOOKING,
        };
        let programs = match load_all(tracepoints, &offsets, &maps) {
            Err(ProbeError::Refused { .. }) if offsets.cast.take().is_some() => {
                load_all(tracepoints, &offsets, &maps)?
            }
            loaded => loaded?,
        };
        let lasting = attach_all(&load_all(&LASTING, &offsets, &maps)?)?;
        let toll = Duration::ZERO;
        let mut probe =
            Self { maps, programs, _lasting: lasting, looking: Vec::new(), look: 0, toll };
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
        let set = self.maps.look.set(&0_u32.to_ne_bytes(), &value);
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
    pub fn tolls(&self) -> Result<Tolls, ProbeError> {
        let entries = self.maps.tolls.entries();
        let entries = entries.map_err(|source| failed("reading a map", source))?;
        Ok(Tolls(entries.iter().map(|(_, value)| u64_at(value, 0)).collect()))
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
        let (key, value) = (process.to_ne_bytes(), 1_u32.to_ne_bytes());
        let set = self.maps.followed.set(&key, &value);
        set.map_err(|source| failed("following a process", source))
    }

    /// Forgets a process that ended before it was followed, of whose end the kernel does not tell:
    /// its number would be believed of the next one to have it.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Call`] if the map cannot be written.
    pub fn unfollow(&self, process: u32) -> Result<(), ProbeError> {
        let removed = self.maps.followed.remove(&process.to_ne_bytes());
        removed.map_err(|source| failed("forgetting a process", source))
    }

    /// Who is followed: of those that were, all that have not ended.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Call`] if the map cannot be read.
    pub fn followed(&self) -> Result<BTreeSet<u32>, ProbeError> {
        let entries = self.maps.followed.entries();
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

    fn read(&self) -> Result<Evidence, Errno> {
        let entries = self.maps.calls.entries()?;
        let calls: Vec<_> = entries.iter().map(|(key, value)| layout::calls(key, value)).collect();
        let files = calls.iter().flat_map(|calls| {
            [calls.source, calls.target].into_iter().flatten().map(|file| (file, calls.process))
        });
        // A socket that no call of theirs names is a stranger's.
        let sockets_used = files.filter(|(file, _)| file.kind == FileKind::Socket);
        let mut used: HashMap<u64, u32> = HashMap::new();
        for (file, process) in sockets_used {
            used.entry(file.inode).or_insert(process);
        }
        let mut sockets = BTreeMap::new();
        for (key, value) in self.maps.names.entries()? {
            let inode = u64_at(&key, 0);
            if let Some(&process) = used.get(&inode) {
                sockets.insert(inode, named(inode, process, &value));
            }
        }
        for (key, value) in self.maps.sent.entries()? {
            let bytes = u64_at(&value, 0);
            let (inode, pages) = layout::pages(&key, bytes);
            let Some(socket) = sockets.get_mut(&inode) else { continue };
            match pages {
                Some(pages) => socket.sent.push(pages),
                None => socket.retransmitted_bytes += bytes,
            }
        }
        let mut received = Vec::new();
        for (key, value) in self.maps.received.entries()? {
            if let (process, Some(pages)) = layout::pages(&key, u64_at(&value, 0)) {
                received.push(Received { process: u32::try_from(process).unwrap_or(0), pages });
            }
        }
        let processes = self.maps.processes.entries()?;
        Ok(Evidence {
            calls,
            sockets: sockets.into_values().collect(),
            received,
            processes: processes.iter().map(|(key, value)| layout::process(key, value)).collect(),
            lost: self.maps.lost.number()?,
            has_gaps: self.look > 1 || self.looking.is_empty(),
            ..Evidence::default()
        })
    }
}

/// The running kernel's offsets, looked up once: its type information is long.
fn offsets_of_kernel() -> Result<&'static Offsets, BtfError> {
    static OFFSETS: OnceLock<Offsets> = OnceLock::new();
    if let Some(known) = OFFSETS.get() {
        return Ok(known);
    }
    let offsets = Offsets::of(&Btf::of_kernel()?)?;
    Ok(OFFSETS.get_or_init(|| offsets))
}

fn named(inode: u64, process: u32, value: &[u8]) -> Socket {
    let (local, peer) = layout::addresses(value);
    Socket {
        inode,
        process: match layout::user(value) {
            0 => process,
            first => first,
        },
        network: layout::network(value),
        local,
        peer,
        upper_layer: layout::upper_layer(value),
        ..Socket::default()
    }
}

fn load_all(
    tracepoints: &[Tracepoint],
    offsets: &Offsets,
    maps: &Maps,
) -> Result<Vec<Loaded>, ProbeError> {
    let load = |&(tracepoint, write): &Tracepoint| {
        Ok((load(name_of(tracepoint), write, offsets, maps)?, tracepoint))
    };
    tracepoints.iter().map(load).collect()
}

fn attach_all(programs: &[Loaded]) -> Result<Vec<OwnedFd>, ProbeError> {
    let attach = |(program, tracepoint): &Loaded| {
        let attached = bpf::attach_raw_tracepoint(program.as_fd(), tracepoint);
        attached.map_err(|source| ProbeError::Call { call: name_of(tracepoint), source })
    };
    programs.iter().map(attach).collect()
}

fn name_of(tracepoint: &'static CStr) -> &'static str {
    tracepoint.to_str().unwrap_or("a tracepoint")
}

fn load(
    name: &'static str,
    write: impl for<'p> Fn(&mut Program<'p>),
    offsets: &Offsets,
    maps: &Maps,
) -> Result<OwnedFd, ProbeError> {
    let mut program = Program::new(offsets, maps);
    write(&mut program);
    let words =
        program.finish().map_err(|source| ProbeError::Assembly { tracepoint: name, source })?;
    let mut attempts = 0;
    let loaded = loop {
        attempts += 1;
        match bpf::load_raw_tracepoint(&words, &mut []) {
            // The verifier gives up for a signal, such as that of a child that ended.
            Err(Errno::AGAIN) if attempts < LOADS_MAX => {}
            loaded => break loaded,
        }
    };
    loaded.map_err(|source| {
        let mut log = vec![0; LOG_LEN];
        match bpf::load_raw_tracepoint(&words, &mut log) {
            Err(_) if source != Errno::PERM => {
                let said = last_words(&log);
                ProbeError::Refused { tracepoint: name, errno: source, said }
            }
            Ok(_) | Err(_) => failed("loading a program", source),
        }
    })
}

/// The end of a log, from the start of a line.
fn last_words(log: &[u8]) -> String {
    let said = String::from_utf8_lossy(log.split(|&byte| byte == 0).next().unwrap_or(&[]));
    let mut from = said.len().saturating_sub(LOG_SHOWN);
    while !said.is_char_boundary(from) {
        from += 1;
    }
    said[from..].trim_end().into()
}

fn failed(call: &'static str, source: Errno) -> ProbeError {
    match source {
        Errno::PERM => ProbeError::Forbidden,
        _ => ProbeError::Call { call, source },
    }
}
