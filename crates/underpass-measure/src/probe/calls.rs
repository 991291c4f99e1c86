//! Every system call of a followed process as it returns: which, between which files, how much.
//!
//! At the exit, not at the entry: one tracepoint instead of two, and the arguments are still
//! in the saved registers. A descriptor that another thread closed meanwhile is not found.
//!
//! Source: tracepoint `raw_syscalls:sys_exit`; syscall(2), x86-64 calling convention.

use linux_raw_sys::general as sys;

use crate::assembler::Reg::{R0, R1, R6, R7, R8, R9, R10};
use crate::assembler::{If, Op, Width};

use super::layout::{call, file, toll};
use super::program::{PROCESS, Program};
use super::sockets;

/// An argument of a call, or what it returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument {
    First,
    Second,
    Third,
    Fourth,
    Returned,
}

/// Where the bytes are that a call gives to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Buffer {
    None,
    /// At the second argument.
    Plain,
    /// In the array of iovec(3type) at the second argument, as many as the third says.
    Vector,
    /// In the msghdr(3type) at the second argument.
    Message,
}

/// How calls of one shape say what they do.
struct Shape {
    numbers: &'static [u32],
    source: Option<Argument>,
    target: Option<Argument>,
    buffer: Buffer,
    flags: Option<Argument>,
    /// Whether it returns a number of bytes.
    is_counted: bool,
}

const PLAIN: Shape = Shape {
    numbers: &[],
    source: None,
    target: None,
    buffer: Buffer::None,
    flags: None,
    is_counted: true,
};

/// Calls between descriptors; all others are only counted.
#[rustfmt::skip]
const SHAPES: &[Shape] = &[
    Shape { numbers: &[sys::__NR_read, sys::__NR_pread64, sys::__NR_readv, sys::__NR_preadv,
                       sys::__NR_preadv2, sys::__NR_recvfrom, sys::__NR_recvmsg],
            source: Some(Argument::First), ..PLAIN },
    Shape { numbers: &[sys::__NR_write, sys::__NR_pwrite64], target: Some(Argument::First),
            buffer: Buffer::Plain, ..PLAIN },
    Shape { numbers: &[sys::__NR_writev, sys::__NR_pwritev, sys::__NR_pwritev2,
                       sys::__NR_vmsplice],
            target: Some(Argument::First), buffer: Buffer::Vector, ..PLAIN },
    Shape { numbers: &[sys::__NR_sendto], target: Some(Argument::First), buffer: Buffer::Plain,
            flags: Some(Argument::Fourth), ..PLAIN },
    Shape { numbers: &[sys::__NR_sendmsg], target: Some(Argument::First),
            buffer: Buffer::Message, flags: Some(Argument::Third), ..PLAIN },
    // They return no number of bytes.
    Shape { numbers: &[sys::__NR_sendmmsg, sys::__NR_connect], target: Some(Argument::First),
            is_counted: false, ..PLAIN },
    Shape { numbers: &[sys::__NR_recvmmsg], source: Some(Argument::First), is_counted: false,
            ..PLAIN },
    // What they return is the descriptor.
    Shape { numbers: &[sys::__NR_accept, sys::__NR_accept4], source: Some(Argument::Returned),
            is_counted: false, ..PLAIN },
    Shape { numbers: &[sys::__NR_sendfile], source: Some(Argument::Second),
            target: Some(Argument::First), ..PLAIN },
    Shape { numbers: &[sys::__NR_splice, sys::__NR_copy_file_range],
            source: Some(Argument::First), target: Some(Argument::Third), ..PLAIN },
    Shape { numbers: &[sys::__NR_tee], source: Some(Argument::First),
            target: Some(Argument::Second), ..PLAIN },
];

const MSG_ZEROCOPY: i32 = 0x400_0000;
const O_DIRECT: i32 = 0o40_000;

/// Where in the mode the kind of file is, and what it is for a socket (inode(7)).
const KIND_MASK: i32 = 0o170_000;
const KIND_SOCKET: i32 = 0o140_000;

/// Elements of a vector that are looked at for the largest.
const ELEMENTS_MAX: i16 = 4;

const KEY: i16 = sockets::BELOW - call::KEY;
const RETURNED: i16 = KEY - 8;
const SOURCE_FD: i16 = RETURNED - 8;
const TARGET_FD: i16 = SOURCE_FD - 8;
const FLAGS: i16 = TARGET_FD - 8;
const IS_COUNTED: i16 = FLAGS - 8;
const BUFFER: i16 = IS_COUNTED - 8;
const HEAD: i16 = BUFFER - 8;
const ELEMENT: i16 = HEAD - 16;

impl Program<'_> {
    /// The whole program for `sys_exit(regs, ret)`.
    pub(crate) fn write_calls(&mut self) {
        self.asm.mov(R6, R1);
        self.pay(1);
        self.require_followed();
        self.pay(toll::FOLLOWED);
        self.clear(KEY, call::KEY);
        self.asm.load(Width::Eight, R1, R6, 8);
        self.asm.store(Width::Eight, R10, RETURNED, R1);
        self.asm.load(Width::Eight, R6, R6, 0);
        self.asm.load(Width::Four, R1, R10, PROCESS);
        self.asm.store(Width::Four, R10, KEY + call::PROCESS, R1);
        for slot in [SOURCE_FD, TARGET_FD] {
            self.asm.store(Width::Eight, R10, slot, -1);
        }
        for slot in [FLAGS, IS_COUNTED, BUFFER, HEAD] {
            self.asm.store(Width::Eight, R10, slot, 0);
        }
        self.read_number(Width::Four, R9, R6, self.offsets.regs_number);
        self.asm.store(Width::Four, R10, KEY + call::NUMBER, R9);
        self.write_shapes();
        self.resolve(SOURCE_FD, KEY + call::SOURCE);
        self.resolve(TARGET_FD, KEY + call::TARGET);
        self.note_zero_copy();
        self.count_call();
    }

    /// By the number in R9, with the saved registers at R6: notes what its shape says.
    fn write_shapes(&mut self) {
        let known = self.asm.label();
        let labels: Vec<_> = SHAPES.iter().map(|_| self.asm.label()).collect();
        for (shape, &label) in SHAPES.iter().zip(&labels) {
            for &number in shape.numbers {
                self.asm.jump_if(If::Equal, R9, number.cast_signed(), label);
            }
        }
        self.asm.jump(known);
        for (shape, &label) in SHAPES.iter().zip(&labels) {
            self.asm.here(label);
            let slots =
                [(shape.source, SOURCE_FD), (shape.target, TARGET_FD), (shape.flags, FLAGS)];
            for (argument, slot) in slots {
                if let Some(argument) = argument {
                    self.store_argument(argument, slot);
                }
            }
            if shape.is_counted {
                self.asm.store(Width::Eight, R10, IS_COUNTED, 1);
            }
            self.leave_out_probes(shape);
            self.find_buffer(shape.buffer);
            self.asm.jump(known);
        }
        self.asm.here(known);
    }

    /// Counts no bytes of a preadv2(2) that took 1 or 32: with `RWF_NOWAIT`, one byte asks whether
    /// a page is cached, and 32 are kept to compare a file with later. Neither goes anywhere.
    fn leave_out_probes(&mut self, shape: &Shape) {
        if !shape.numbers.contains(&sys::__NR_preadv2) {
            return;
        }
        let (probe, content) = (self.asm.label(), self.asm.label());
        self.asm.jump_if(If::NotEqual, R9, sys::__NR_preadv2.cast_signed(), content);
        self.asm.load(Width::Eight, R1, R10, RETURNED);
        for taken in [1, 32] {
            self.asm.jump_if(If::Equal, R1, taken, probe);
        }
        self.asm.jump(content);
        self.asm.here(probe);
        self.asm.store(Width::Eight, R10, IS_COUNTED, 0);
        self.asm.here(content);
    }

    fn store_argument(&mut self, argument: Argument, slot: i16) {
        let offset = match argument {
            Argument::First => self.offsets.regs_first,
            Argument::Second => self.offsets.regs_second,
            Argument::Third => self.offsets.regs_third,
            Argument::Fourth => self.offsets.regs_fourth,
            Argument::Returned => {
                self.asm.load(Width::Eight, R1, R10, RETURNED);
                self.asm.store(Width::Eight, R10, slot, R1);
                return;
            }
        };
        self.read(slot, 8, R6, offset);
    }

    fn find_buffer(&mut self, buffer: Buffer) {
        let done = self.asm.label();
        match buffer {
            Buffer::None => {}
            Buffer::Plain => self.read(BUFFER, 8, R6, self.offsets.regs_second),
            Buffer::Vector => {
                self.read_number(Width::Eight, R7, R6, self.offsets.regs_second);
                self.read_number(Width::Eight, R8, R6, self.offsets.regs_third);
                self.find_largest_element();
            }
            Buffer::Message => {
                // msg_iov and msg_iovlen of struct user_msghdr (linux/socket.h).
                self.read_number(Width::Eight, R7, R6, self.offsets.regs_second);
                self.read_user(ELEMENT, 16, R7, 16);
                self.asm.load(Width::Eight, R7, R10, ELEMENT);
                self.asm.load(Width::Eight, R8, R10, ELEMENT + 8);
                self.find_largest_element();
            }
        }
        if buffer != Buffer::None {
            self.asm.load(Width::Eight, R7, R10, BUFFER);
            self.asm.jump_if(If::Equal, R7, 0, done);
            self.read_user(HEAD, 8, R7, 0);
        }
        self.asm.here(done);
    }

    /// Of the R8 elements at R7.
    fn find_largest_element(&mut self) {
        let done = self.asm.label();
        self.asm.mov(R9, 0);
        for element in 0..ELEMENTS_MAX {
            let smaller = self.asm.label();
            self.asm.jump_if(If::Equal, R8, i32::from(element), done);
            self.read_user(ELEMENT, 16, R7, element * 16);
            self.asm.load(Width::Eight, R1, R10, ELEMENT + 8);
            // Not larger than the largest so far.
            self.asm.jump_if(If::AtLeast, R9, R1, smaller);
            self.asm.mov(R9, R1);
            self.asm.load(Width::Eight, R1, R10, ELEMENT);
            self.asm.store(Width::Eight, R10, BUFFER, R1);
            self.asm.here(smaller);
        }
        self.asm.here(done);
    }

    /// From a descriptor in `slot` to the file in the key at `to`; learns it if it is a socket.
    fn resolve(&mut self, slot: i16, to: i16) {
        let (done, is_cached) = (self.asm.label(), self.asm.label());
        self.asm.load(Width::Eight, R8, R10, slot);
        self.asm.jump_if(If::Equal, R8, -1, done);
        self.asm.mov32(R8, R8);
        self.current_task(R7);
        self.follow(R7, R7, self.offsets.task_files, done);
        self.follow(R7, R7, self.offsets.files_fdt, done);
        self.read_number(Width::Four, R1, R7, self.offsets.fdt_max);
        self.asm.jump_if(If::AtLeast, R8, R1, done);
        self.follow(R7, R7, self.offsets.fdt_fd, done);
        self.asm.alu(Op::ShiftLeft, R8, 3);
        self.asm.alu(Op::Add, R7, R8);
        self.follow(R7, R7, 0, done);
        self.read_number(Width::Four, R1, R7, self.offsets.file_flags);
        let direct = self.asm.label();
        self.asm.jump_if(If::AnyBit, R1, O_DIRECT, direct);
        self.asm.jump(is_cached);
        self.asm.here(direct);
        self.flag(call::IS_DIRECT);
        self.asm.here(is_cached);
        self.follow(R9, R7, self.offsets.file_inode, done);
        self.read(to + file::MODE, 2, R9, self.offsets.inode_mode);
        self.read(to + file::INODE, 8, R9, self.offsets.inode_number);
        self.follow(R8, R9, self.offsets.inode_super, done);
        self.read(to + file::DEVICE, 4, R8, self.offsets.super_device);
        self.asm.load(Width::Four, R1, R10, to + file::MODE);
        self.asm.alu(Op::And, R1, KIND_MASK);
        self.asm.jump_if(If::NotEqual, R1, KIND_SOCKET, done);
        self.follow(R8, R7, self.offsets.file_private, done);
        self.follow(R7, R8, self.offsets.socket_sk, done);
        self.asm.load(Width::Eight, R1, R10, to + file::INODE);
        self.asm.store(Width::Eight, R10, sockets::INODE, R1);
        self.learn_socket();
        self.asm.here(done);
    }

    fn flag(&mut self, flag: i32) {
        self.asm.load(Width::Four, R1, R10, KEY + call::FLAGS);
        self.asm.alu(Op::Or, R1, flag);
        self.asm.store(Width::Four, R10, KEY + call::FLAGS, R1);
    }

    fn note_zero_copy(&mut self) {
        let (asked, done) = (self.asm.label(), self.asm.label());
        self.asm.load(Width::Eight, R1, R10, FLAGS);
        self.asm.jump_if(If::AnyBit, R1, MSG_ZEROCOPY, asked);
        self.asm.jump(done);
        self.asm.here(asked);
        self.flag(call::IS_ZERO_COPY);
        self.asm.here(done);
    }

    fn count_call(&mut self) {
        let (failed, no_bytes, end) = (self.asm.label(), self.asm.label(), self.end());
        self.entry(self.maps.calls.as_fd(), KEY, end);
        self.asm.mov(R7, R0);
        self.asm.mov(R1, 1);
        self.asm.atomic_add(R7, call::CALLS, R1);
        self.asm.load(Width::Eight, R8, R10, RETURNED);
        self.asm.jump_if(If::SignedLess, R8, 0, failed);
        self.asm.load(Width::Eight, R1, R10, IS_COUNTED);
        self.asm.jump_if(If::Equal, R1, 0, no_bytes);
        self.asm.atomic_add(R7, call::BYTES, R8);
        self.asm.here(no_bytes);
        self.asm.load(Width::Eight, R1, R10, BUFFER);
        self.asm.jump_if(If::Equal, R1, 0, end);
        self.asm.store(Width::Eight, R7, call::BUFFER, R1);
        self.asm.load(Width::Eight, R1, R10, HEAD);
        self.asm.store(Width::Eight, R7, call::HEAD, R1);
        self.asm.jump(end);
        self.asm.here(failed);
        self.asm.mov(R1, 1);
        self.asm.atomic_add(R7, call::FAILURES, R1);
    }
}
