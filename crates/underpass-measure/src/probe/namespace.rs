//! Numbers of processes in a PID namespace: BPF sees those of the first one, /proc those of
//! its namespace.
//!
//! Each task has a number in its namespace and in every one above it. Which of them is ours is told
//! by how deep our namespace is, and that is asked once, of the kernel: from within, nothing else
//! tells it.
//!
//! Source: pid_namespaces(7); linux/bpf.h (`bpf_get_ns_current_pid_tgid`, Linux 5.7);
//! linux/pid.h (`struct upid`).

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::process::getppid;
use underpass_sys::bpf;

use super::maps::Maps;
use super::offsets::Offsets;
use super::program::{FREE, Program};
use super::{Loaded, ProbeError, failed, load};
use crate::assembler::If;
use crate::assembler::Reg::{R0, R1, R2, R3, R4, R6, R7, R8};
use crate::assembler::Width;

/// linux/proc_ns.h, `PROC_PID_INIT_INO`.
const FIRST: u64 = 0xEFFF_FFFC;

/// `bpf_get_ns_current_pid_tgid`, and the length of what it fills: thread and process.
const NUMBERS_IN: i32 = 120;
const NUMBERS: i16 = FREE - 8;
const NUMBERS_LEN: i32 = 8;

/// linux/pid_namespace.h, `MAX_PID_NS_LEVEL`.
const LEVEL_MAX: u64 = 32;

/// This process's namespace, where it is not the first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Namespace {
    /// Its inode, as the kernel keeps it.
    inode: i32,
    /// How many namespaces it is below the first.
    level: i16,
}

impl Namespace {
    /// That of this process; `None` where it is the first.
    pub(super) fn of_own(offsets: &Offsets, maps: &Maps) -> Result<Option<Self>, ProbeError> {
        let Ok(own) = std::fs::metadata("/proc/self/ns/pid") else { return Ok(None) };
        if own.ino() == FIRST {
            return Ok(None);
        }
        let inode = u32::try_from(own.ino()).map_err(|_| ProbeError::Namespace)?.cast_signed();
        let device = i32::try_from(rustix::fs::minor(own.dev())).unwrap_or(0);
        let write = |program: &mut Program<'_>| program.write_level(inode, device);
        // Whether the kernel takes direct reads is not known yet.
        let offsets = &Offsets { cast: None, ..offsets.clone() };
        let program = load("the PID namespace", write, offsets, maps)?;
        let asking: Loaded = (program, c"sys_exit");
        let level = {
            let attached = bpf::attach_raw_tracepoint(asking.0.as_fd(), asking.1);
            let _attached = attached.map_err(|source| failed("asking for the level", source))?;
            std::hint::black_box(getppid());
            maps.look.number().map_err(|source| failed("reading a map", source))?
        };
        match level {
            1..=LEVEL_MAX => Ok(Some(Self { inode, level: i16::try_from(level).unwrap_or(0) })),
            _ => Err(ProbeError::Namespace),
        }
    }
}

impl Program<'_> {
    /// For any call of a process of the namespace of `inode`: sets the map of the look to the
    /// namespace's level.
    fn write_level(&mut self, inode: i32, device: i32) {
        let end = self.end();
        self.asm.mov(R1, device);
        self.asm.mov(R2, inode);
        self.asm.mov32(R2, R2);
        self.frame_address(R3, NUMBERS);
        self.asm.mov(R4, NUMBERS_LEN);
        self.clear(NUMBERS, 8);
        self.asm.call(NUMBERS_IN);
        self.asm.jump_if(If::NotEqual, R0, 0, end);
        self.current_task(R7);
        self.follow(R7, R7, self.offsets.task_pid, end);
        self.read_number(Width::Four, R6, R7, self.offsets.pid_level);
        self.set_look(R6);
    }

    /// R8 = the process of the task in R7, by its number in our namespace; ends the program
    /// if it has none here. R7 is lost.
    pub(super) fn find_process(&mut self) {
        let Some(Namespace { inode, level }) = self.offsets.namespace else {
            self.read_number(Width::Four, R8, R7, self.offsets.task_tgid);
            return;
        };
        let end = self.end();
        self.follow(R7, R7, self.offsets.task_leader, end);
        self.follow(R7, R7, self.offsets.task_pid, end);
        self.read_number(Width::Four, R8, R7, self.offsets.pid_level);
        self.asm.jump_if(If::Less, R8, i32::from(level), end);
        let number = self.offsets.pid_numbers + level * self.offsets.number_size;
        self.follow(R8, R7, number + self.offsets.number_namespace, end);
        self.read_number(
            Width::Four,
            R8,
            R8,
            self.offsets.namespace_names + self.offsets.names_inode,
        );
        self.asm.mov(R1, inode);
        self.asm.mov32(R1, R1);
        self.asm.jump_if(If::NotEqual, R8, R1, end);
        self.read_number(Width::Four, R8, R7, number + self.offsets.number);
    }
}
