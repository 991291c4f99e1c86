//! What the probe's programs are made of: reads of kernel memory, look-ups, counting.
//!
//! A program is written for one kernel, with its offsets, and for one set of maps. Its frame is
//! 512 bytes; each program says where in it its values are, as negative offsets from R10. The
//! first bytes below R10 are for the pieces in this file.
//!
//! Source: linux/bpf.h (helpers); `Documentation/bpf/verifier.rst`.

use std::os::fd::BorrowedFd;

use crate::assembler::Reg::{R0, R1, R2, R3, R4, R7, R8, R10};
use crate::assembler::{Assembler, If, Label, Op, Reg, Width};

use super::layout::{call, page, process, toll};
use super::maps::Maps;
use super::offsets::{Cast, Offsets};

mod helper {
    pub(super) const MAP_LOOKUP: i32 = 1;
    pub(super) const MAP_UPDATE: i32 = 2;
    pub(super) const MAP_DELETE: i32 = 3;
    pub(super) const PROCESSOR: i32 = 8;
    pub(super) const CURRENT_PID_TGID: i32 = 14;
    pub(super) const CURRENT_TASK: i32 = 35;
    pub(super) const READ_USER: i32 = 112;
    pub(super) const READ_KERNEL: i32 = 113;
}

/// Set a value whether its key is there or not.
const ANY: i32 = 0;
/// Set a value only if its key is not there: another processor may have been faster.
const NEW: i32 = 1;

/// Eight bytes for what is read and used at once.
pub(crate) const SCRATCH: i16 = -8;
/// The process that runs, or is told of.
pub(crate) const PROCESS: i16 = -16;
/// A key of one number.
const INDEX: i16 = -24;
/// A zero that the verifier takes for any number, so that what it has proved for one packet holds
/// for the next: with zeros that it knows, it goes through each row of fragments anew.
pub(crate) const NOTHING: i16 = -32;
/// Zeros from which values of maps start.
const ZEROS: i16 = NOTHING - ZEROS_LEN;
const ZEROS_LEN: i16 = call::VALUE;
/// Below this a program may use the frame as it likes.
pub(crate) const FREE: i16 = ZEROS;

const _: () = assert!(ZEROS_LEN >= page::VALUE && ZEROS_LEN >= process::VALUE, "zeros for all");

/// A program being written.
#[derive(Debug)]
pub(crate) struct Program<'p> {
    pub(crate) asm: Assembler,
    pub(crate) offsets: &'p Offsets,
    pub(crate) maps: &'p Maps,
    end: Label,
}

impl<'p> Program<'p> {
    /// An empty program.
    pub(crate) fn new(offsets: &'p Offsets, maps: &'p Maps) -> Self {
        let mut asm = Assembler::default();
        let end = asm.label();
        Self { asm, offsets, maps, end }
    }

    /// Where the program ends.
    pub(crate) const fn end(&self) -> Label {
        self.end
    }

    /// The program's words.
    pub(crate) fn finish(mut self) -> Result<Vec<u64>, crate::assembler::AssemblyError> {
        let end = self.end;
        self.asm.here(end);
        self.asm.exit();
        self.asm.finish()
    }

    /// `frame[to..to + len] = *(from + offset)`; zeros where that is not memory. `from` is one of
    /// R6 to R9.
    pub(crate) fn read(&mut self, to: i16, len: i16, from: Reg, offset: i16) {
        let Some(cast) = self.offsets.cast else {
            self.read_by(helper::READ_KERNEL, to, len, from, offset);
            return;
        };
        let mut at = 0;
        while at < len {
            let (width, step) = match len - at {
                8.. => (Width::Eight, 8),
                4.. => (Width::Four, 4),
                2.. => (Width::Two, 2),
                _ => (Width::One, 1),
            };
            self.peek(cast, width, R1, from, offset + at);
            self.asm.store(width, R10, to + at, R1);
            at += step;
        }
    }

    /// Makes [`NOTHING`]: what is at no address reads as zero. R8 is lost.
    pub(crate) fn make_nothing(&mut self) {
        self.asm.mov(R8, 0);
        self.read_number(Width::Eight, R8, R8, 0);
        self.asm.store(Width::Eight, R10, NOTHING, R8);
    }

    /// Clears a place in the frame. R2 is lost.
    pub(crate) fn store_nothing(&mut self, at: i16) {
        self.asm.load(Width::Eight, R2, R10, NOTHING);
        self.asm.store(Width::Eight, R10, at, R2);
    }

    /// `dst = *(from + offset)`, without a call.
    fn peek(&mut self, cast: Cast, width: Width, dst: Reg, from: Reg, offset: i16) {
        self.asm.mov(R1, from);
        self.asm.alu(Op::Add, R1, i32::from(offset));
        self.asm.mov(R2, cast.as_type);
        self.asm.call_kernel(cast.function);
        self.asm.load(width, dst, R0, 0);
    }

    /// As [`Program::read`], of the process's own memory.
    pub(crate) fn read_user(&mut self, to: i16, len: i16, from: Reg, offset: i16) {
        self.read_by(helper::READ_USER, to, len, from, offset);
    }

    fn read_by(&mut self, helper: i32, to: i16, len: i16, from: Reg, offset: i16) {
        self.asm.mov(R3, from);
        self.asm.alu(Op::Add, R3, i32::from(offset));
        self.frame_address(R1, to);
        self.asm.mov(R2, i32::from(len));
        self.asm.call(helper);
    }

    /// `dst = *(from + offset)`, a pointer; jumps to `if_null` if it is null.
    pub(crate) fn follow(&mut self, dst: Reg, from: Reg, offset: i16, if_null: Label) {
        self.read_number(Width::Eight, dst, from, offset);
        self.asm.jump_if(If::Equal, dst, 0, if_null);
    }

    /// `dst = *(from + offset)`, a number; 0 where that is not memory.
    pub(crate) fn read_number(&mut self, width: Width, dst: Reg, from: Reg, offset: i16) {
        if let Some(cast) = self.offsets.cast {
            self.peek(cast, width, dst, from, offset);
            return;
        }
        let len = match width {
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
            Width::Eight => 8,
        };
        self.read(SCRATCH, len, from, offset);
        self.asm.load(width, dst, R10, SCRATCH);
    }

    /// `dst` = the address of a place in the frame.
    pub(crate) fn frame_address(&mut self, dst: Reg, at: i16) {
        self.asm.mov(dst, R10);
        self.asm.alu(Op::Add, dst, i32::from(at));
    }

    /// Clears a part of the frame, in eights.
    pub(crate) fn clear(&mut self, at: i16, len: i16) {
        let eight = 8;
        for step in 0..len / eight {
            self.asm.store(Width::Eight, R10, at + step * eight, 0);
        }
    }

    /// R0 = the address of the value, or 0.
    pub(crate) fn look_up(&mut self, map: BorrowedFd<'_>, key: i16) {
        self.asm.load_map(R1, map);
        self.frame_address(R2, key);
        self.asm.call(helper::MAP_LOOKUP);
    }

    /// Sets a value, new or not.
    pub(crate) fn set(&mut self, map: BorrowedFd<'_>, key: i16, value: i16) {
        self.update(map, key, value, ANY);
    }

    /// Sets a value unless the key has one.
    pub(crate) fn set_new(&mut self, map: BorrowedFd<'_>, key: i16, value: i16) {
        self.update(map, key, value, NEW);
    }

    fn update(&mut self, map: BorrowedFd<'_>, key: i16, value: i16, how: i32) {
        self.asm.load_map(R1, map);
        self.frame_address(R2, key);
        self.frame_address(R3, value);
        self.asm.mov(R4, how);
        self.asm.call(helper::MAP_UPDATE);
    }

    /// Takes a key out of a map.
    pub(crate) fn delete(&mut self, map: BorrowedFd<'_>, key: i16) {
        self.asm.load_map(R1, map);
        self.frame_address(R2, key);
        self.asm.call(helper::MAP_DELETE);
    }

    /// R0 = the address of the value of a key, made of zeros if there was none; jumps to
    /// `if_full` and counts the loss if it cannot be made.
    pub(crate) fn entry(&mut self, map: BorrowedFd<'_>, key: i16, if_full: Label) {
        let there = self.asm.label();
        self.look_up(map, key);
        self.asm.jump_if(If::NotEqual, R0, 0, there);
        self.clear(ZEROS, ZEROS_LEN);
        self.update(map, key, ZEROS, NEW);
        self.look_up(map, key);
        self.asm.jump_if(If::NotEqual, R0, 0, there);
        self.count_loss();
        self.asm.jump(if_full);
        self.asm.here(there);
    }

    /// Counts what this look at an event costs, so that its reader can look less often.
    pub(crate) fn pay(&mut self, tolls: i32) {
        let done = self.asm.label();
        self.asm.call(helper::PROCESSOR);
        self.asm.alu(Op::And, R0, toll::PROCESSORS - 1);
        self.asm.store(Width::Four, R10, INDEX, R0);
        self.look_up(self.maps.tolls.as_fd(), INDEX);
        self.asm.jump_if(If::Equal, R0, 0, done);
        // Its own processor's: only what interrupts this adds to it, too.
        self.asm.load(Width::Eight, R1, R0, 0);
        self.asm.alu(Op::Add, R1, tolls);
        self.asm.store(Width::Eight, R0, 0, R1);
        self.asm.here(done);
    }

    /// Notes in `at`, four bytes, which look this is.
    pub(crate) fn note_look(&mut self, at: i16) {
        let end = self.end;
        self.asm.store(Width::Four, R10, INDEX, 0);
        self.look_up(self.maps.look.as_fd(), INDEX);
        self.asm.jump_if(If::Equal, R0, 0, end);
        self.asm.load(Width::Four, R1, R0, 0);
        self.asm.store(Width::Four, R10, at, R1);
    }

    /// Sets which look this is.
    pub(crate) fn set_look(&mut self, number: Reg) {
        self.asm.store(Width::Four, R10, INDEX, 0);
        self.asm.store(Width::Eight, R10, SCRATCH, number);
        self.set(self.maps.look.as_fd(), INDEX, SCRATCH);
    }

    /// Adds one to what was lost.
    pub(crate) fn count_loss(&mut self) {
        let done = self.asm.label();
        self.asm.store(Width::Four, R10, INDEX, 0);
        let lost = self.maps.lost.as_fd();
        self.look_up(lost, INDEX);
        self.asm.jump_if(If::Equal, R0, 0, done);
        self.asm.mov(R1, 1);
        self.asm.atomic_add(R0, 0, R1);
        self.asm.here(done);
    }

    /// Ends the program unless the running process is followed; notes it in [`PROCESS`].
    /// R7 and R8 are lost.
    pub(crate) fn require_followed(&mut self) {
        if self.offsets.namespace.is_none() {
            self.asm.call(helper::CURRENT_PID_TGID);
            self.asm.mov(R8, R0);
            self.asm.alu(Op::ShiftRight, R8, 32);
        } else {
            self.current_task(R7);
            self.find_process();
        }
        self.asm.store(Width::Eight, R10, PROCESS, R8);
        self.require_followed_process();
    }

    /// Ends the program unless the process in [`PROCESS`] is followed.
    pub(crate) fn require_followed_process(&mut self) {
        let (followed, end) = (self.maps.followed.as_fd(), self.end);
        self.look_up(followed, PROCESS);
        self.asm.jump_if(If::Equal, R0, 0, end);
    }

    /// `dst` = the running task.
    pub(crate) fn current_task(&mut self, dst: Reg) {
        self.asm.call(helper::CURRENT_TASK);
        self.asm.mov(dst, R0);
    }
}
