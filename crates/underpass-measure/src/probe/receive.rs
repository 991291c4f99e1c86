//! What is copied out of socket buffers to a followed process, and where it was.
//!
//! The tracepoint tells how much of a buffer was taken and not from where in it: a buffer with
//! several fragments is named after its first. A receiver that discards (`MSG_TRUNC`) copies
//! nothing and is not seen here.
//!
//! Source: tracepoint `skb:skb_copy_datagram_iovec`; it tells of TCP, UDP and Unix sockets.

use crate::assembler::Reg::{R0, R1, R6, R8, R9, R10};
use crate::assembler::{If, Width};

use super::layout::page;
use super::program::{FREE, PROCESS, Program};

const KEY: i16 = FREE - page::KEY;
const LEN: i16 = KEY - 8;

impl Program<'_> {
    /// The whole program for `skb_copy_datagram_iovec(skb, len)`.
    pub(crate) fn write_receive(&mut self) {
        let (end, linear, count) = (self.end(), self.asm.label(), self.asm.label());
        self.asm.mov(R6, R1);
        self.require_followed();
        self.make_nothing();
        self.asm.load(Width::Four, R1, R6, 8);
        self.asm.store(Width::Eight, R10, LEN, R1);
        self.asm.load(Width::Eight, R6, R6, 0);
        self.clear(KEY, page::KEY);
        self.asm.load(Width::Eight, R1, R10, PROCESS);
        self.asm.store(Width::Eight, R10, KEY + page::OWNER, R1);
        self.shared_part(R9, R6, end);
        self.read_number(Width::One, R1, R9, self.offsets.shared_frag_count);
        self.asm.jump_if(If::Equal, R1, 0, linear);
        self.read_lent(KEY + page::LENT, R9);
        let first = self.offsets.shared_frags + self.offsets.frag_page;
        self.read_number(Width::Eight, R8, R9, first);
        self.find_mapping();
        self.classify(KEY);
        self.asm.jump(count);
        self.asm.here(linear);
        self.asm.store(Width::Four, R10, KEY + page::ORIGIN, page::LINEAR);
        self.asm.here(count);
        self.entry(self.maps.received.as_fd(), KEY, end);
        self.asm.load(Width::Eight, R1, R10, LEN);
        self.asm.atomic_add(R0, 0, R1);
    }
}
