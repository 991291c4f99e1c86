//! The followed processes: who is born to them, when they end, their faults and switches.
//!
//! Source: tracepoints `sched:sched_process_fork`, `sched:sched_process_exit`,
//! `sched:sched_switch`, `exceptions:page_fault_user`, `exceptions:page_fault_kernel` (x86).

use crate::assembler::Reg::{R0, R1, R6, R7, R8, R10};
use crate::assembler::{If, Width};

use super::layout::process;
use super::program::{FREE, PROCESS, Program};

const CHILD: i16 = FREE - 8;
const ONE: i16 = CHILD - 8;

impl Program<'_> {
    /// The whole program for `sched_process_fork(parent, child)`.
    pub(crate) fn write_fork(&mut self) {
        let end = self.end();
        self.asm.mov(R6, R1);
        self.note_process(0);
        self.require_followed_process();
        self.asm.load(Width::Eight, R7, R6, 8);
        self.find_process();
        self.asm.load(Width::Eight, R1, R10, PROCESS);
        // Another thread of the same process.
        self.asm.jump_if(If::Equal, R8, R1, end);
        self.asm.store(Width::Eight, R10, CHILD, R8);
        self.asm.store(Width::Eight, R10, ONE, 1);
        self.set(self.maps.followed.as_fd(), CHILD, ONE);
        let followed = self.asm.label();
        self.asm.jump_if(If::Equal, R0, 0, followed);
        self.count_loss();
        self.asm.jump(end);
        self.asm.here(followed);
        self.entry(self.maps.processes.as_fd(), CHILD, end);
    }

    /// The whole program for `sched_process_exit(task)`: its number may be given to another.
    pub(crate) fn write_exit(&mut self) {
        let end = self.end();
        self.asm.mov(R6, R1);
        self.note_process(0);
        self.require_followed_process();
        self.asm.load(Width::Eight, R7, R6, 0);
        self.follow(R7, R7, self.offsets.task_signal, end);
        self.read_number(Width::Four, R8, R7, self.offsets.signal_live);
        self.asm.jump_if(If::NotEqual, R8, 0, end);
        self.delete(self.maps.followed.as_fd(), PROCESS);
    }

    /// The whole program for a page fault in user mode.
    pub(crate) fn write_user_fault(&mut self) {
        self.require_followed();
        self.count_process(process::USER_FAULTS);
    }

    /// The whole program for a page fault in the kernel.
    pub(crate) fn write_kernel_fault(&mut self) {
        self.require_followed();
        self.count_process(process::KERNEL_FAULTS);
    }

    /// The whole program for `sched_switch(preempt, prev, next)`.
    pub(crate) fn write_switch(&mut self) {
        self.asm.mov(R6, R1);
        self.note_process(8);
        self.require_followed_process();
        self.count_process(process::SWITCHES);
    }

    /// Notes the process of the task that is the argument at `at`.
    fn note_process(&mut self, at: i16) {
        self.asm.load(Width::Eight, R7, R6, at);
        self.find_process();
        self.asm.store(Width::Eight, R10, PROCESS, R8);
    }

    fn count_process(&mut self, counter: i16) {
        let end = self.end();
        self.entry(self.maps.processes.as_fd(), PROCESS, end);
        self.asm.mov(R1, 1);
        self.asm.atomic_add(R0, counter, R1);
    }
}
