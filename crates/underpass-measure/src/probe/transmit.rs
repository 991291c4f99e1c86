//! Every packet of a watched socket as it reaches its first device: where its payload is.
//!
//! By socket and not by process: a good part of the packets leaves in the context of the process
//! that receives an acknowledgement. The sequence number tells what left before: such bytes are
//! counted apart, so that each byte of the stream is counted once. Behind a bridge, or a device
//! upon a device, the same packet comes by again: what is old and leaves by another device than the
//! newest did is that, and is not counted at all.
//!
//! Source: tracepoint `net:net_dev_start_xmit`; RFC 9293 §3.1; linux/skbuff.h.

use crate::assembler::Reg::{R0, R1, R2, R3, R6, R7, R8, R9, R10};
use crate::assembler::{If, Label, Op, Width};

use super::layout::{page, socket, toll};
use super::program::{PROCESS, Program};
use super::sockets::{self, INODE, SOCKET};

/// `MAX_SKB_FRAGS` as kernels are usually configured; what is in further ones is lost, and
/// counted as such.
const FRAGMENTS_MAX: i16 = 17;

/// A TCP header's sequence number, and the byte with its length in the upper half.
const TCP_SEQUENCE: i16 = 4;
const TCP_LENGTH: i16 = 12;

const KEY: i16 = sockets::BELOW - page::KEY;
const DEVICE: i16 = KEY - 8;
const PAYLOAD: i16 = DEVICE - 8;
const LINEAR: i16 = PAYLOAD - 8;
const TCP: i16 = LINEAR - 16;
/// Payload that was counted before and is still ahead.
const SKIP: i16 = TCP - 8;
const AMOUNT: i16 = SKIP - 8;
/// Bytes of a fragment that are new.
const TAKEN: i16 = AMOUNT - 8;
/// The mapping of the fragments that are in AMOUNT.
const MAPPING: i16 = TAKEN - 8;
const FRAGMENTS: i16 = MAPPING - 8;
const LENT: i16 = FRAGMENTS - 8;
const LOOK: i16 = LENT - 8;

/// The sign of a 32-bit difference.
const SIGN: i32 = i32::MIN;

impl Program<'_> {
    /// The whole program for `net_dev_start_xmit(skb, dev)`.
    pub(crate) fn write_transmit(&mut self) {
        let end = self.end();
        self.asm.mov(R6, R1);
        self.asm.load(Width::Eight, R1, R6, 8);
        self.asm.store(Width::Eight, R10, DEVICE, R1);
        self.asm.load(Width::Eight, R6, R6, 0);
        self.follow(R7, R6, self.offsets.skb_sk, end);
        self.asm.store(Width::Eight, R10, SOCKET, R7);
        self.make_nothing();
        self.measure_payload();
        self.pay(toll::PACKET);
        self.find_socket();
        self.tell_old_from_new();
        self.count_linear();
        self.count_fragments();
    }

    /// Of the buffer at R6: how much payload there is and how much of it is linear.
    fn measure_payload(&mut self) {
        let (end, counted) = (self.end(), self.asm.label());
        self.follow(R7, R6, self.offsets.skb_head, end);
        self.read_number(Width::Two, R8, R6, self.offsets.skb_transport);
        self.asm.alu(Op::Add, R7, R8);
        self.read(TCP, 16, R7, 0);
        self.asm.load(Width::One, R1, R10, TCP + TCP_LENGTH);
        self.asm.alu(Op::ShiftRight, R1, 4);
        self.asm.alu(Op::ShiftLeft, R1, 2);
        self.asm.alu(Op::Add, R7, R1);
        self.read_number(Width::Eight, R8, R6, self.offsets.skb_data);
        // R7 = length of all headers.
        self.asm.alu(Op::Sub, R7, R8);
        self.read_number(Width::Four, R8, R6, self.offsets.skb_len);
        self.asm.alu(Op::Sub, R8, R7);
        self.asm.jump_if(If::SignedLess, R8, 1, end);
        self.asm.store(Width::Eight, R10, PAYLOAD, R8);
        self.read_number(Width::Four, R9, R6, self.offsets.skb_data_len);
        self.asm.alu(Op::Sub, R8, R9);
        self.store_nothing(LINEAR);
        self.asm.jump_if(If::SignedLess, R8, 0, counted);
        self.asm.store(Width::Eight, R10, LINEAR, R8);
        self.asm.here(counted);
    }

    /// R7 = what is known of the socket. One that is not known sends for the first time, whose it
    /// may be: the context is not always its owner's, so the reader keeps those that a followed
    /// process's calls name.
    fn find_socket(&mut self) {
        let (end, known) = (self.end(), self.asm.label());
        self.look_up(self.maps.sockets.as_fd(), SOCKET);
        self.asm.jump_if(If::NotEqual, R0, 0, known);
        self.asm.store(Width::Eight, R10, PROCESS, 0);
        self.asm.load(Width::Eight, R7, R10, SOCKET);
        self.follow(R8, R7, self.offsets.sk_socket, end);
        let inode = self.offsets.socket_inode + self.offsets.inode_number;
        self.read(INODE, 8, R8, inode);
        self.learn_socket();
        self.look_up(self.maps.sockets.as_fd(), SOCKET);
        self.asm.jump_if(If::Equal, R0, 0, end);
        self.asm.here(known);
        self.asm.mov(R7, R0);
        self.clear(KEY, page::KEY);
        self.asm.load(Width::Eight, R1, R7, socket::INODE);
        self.asm.store(Width::Eight, R10, KEY + page::OWNER, R1);
        self.asm.load(Width::Eight, R8, R10, DEVICE);
        self.read(KEY + page::INTERFACE, 4, R8, self.offsets.device_index);
    }

    /// Compares the sequence number with the highest so far, kept at R7. One of an earlier look
    /// may be so far back that it seems to be ahead.
    fn tell_old_from_new(&mut self) {
        let [is_next, has_next, old, partly, done] = [(); 5].map(|()| self.asm.label());
        self.store_nothing(SKIP);
        self.note_look(LOOK);
        self.asm.load(Width::Four, R8, R10, TCP + TCP_SEQUENCE);
        self.asm.swap_network32(R8);
        self.asm.load(Width::Four, R1, R7, socket::LOOK);
        self.asm.load(Width::Four, R2, R10, LOOK);
        self.asm.jump_if(If::Equal, R1, R2, has_next);
        self.asm.store(Width::Four, R7, socket::LOOK, R2);
        self.asm.jump(is_next);
        self.asm.here(has_next);
        self.asm.load(Width::Four, R2, R7, socket::NEXT);
        // R3 = how far this packet reaches back.
        self.asm.mov32(R3, R2);
        self.asm.sub32(R3, R8);
        self.asm.jump_if(If::AnyBit, R3, SIGN, is_next);
        self.asm.jump_if(If::Equal, R3, 0, is_next);
        self.asm.load(Width::Eight, R1, R10, PAYLOAD);
        self.asm.jump_if(If::Greater, R1, R3, partly);
        self.asm.store(Width::Eight, R10, SKIP, R1);
        self.asm.load(Width::Eight, R1, R10, DEVICE);
        self.asm.load(Width::Eight, R2, R7, socket::DEVICE);
        let end = self.end();
        self.asm.jump_if(If::NotEqual, R1, R2, end);
        self.asm.jump(old);
        self.asm.here(partly);
        self.asm.store(Width::Eight, R10, SKIP, R3);
        self.advance();
        self.asm.here(old);
        self.asm.load(Width::Eight, R1, R10, SKIP);
        self.asm.store(Width::Eight, R10, AMOUNT, R1);
        self.asm.store(Width::Four, R10, KEY + page::LENT, page::AGAIN);
        self.count_pages();
        self.asm.jump(done);
        self.asm.here(is_next);
        self.advance();
        self.asm.here(done);
    }

    /// The packet at sequence number R8 is the highest so far.
    fn advance(&mut self) {
        self.asm.load(Width::Eight, R1, R10, PAYLOAD);
        self.asm.alu(Op::Add, R8, R1);
        self.asm.store(Width::Four, R7, socket::NEXT, R8);
        self.asm.load(Width::Eight, R1, R10, DEVICE);
        self.asm.store(Width::Eight, R7, socket::DEVICE, R1);
    }

    /// Takes what is skipped off the bytes in R1; jumps if nothing is left. R1 = the rest.
    fn skip(&mut self, if_none: Label) {
        let some = self.asm.label();
        self.asm.load(Width::Eight, R2, R10, SKIP);
        self.asm.jump_if(If::Greater, R1, R2, some);
        self.asm.alu(Op::Sub, R2, R1);
        self.asm.store(Width::Eight, R10, SKIP, R2);
        self.asm.jump(if_none);
        self.asm.here(some);
        self.asm.alu(Op::Sub, R1, R2);
        self.store_nothing(SKIP);
    }

    fn count_linear(&mut self) {
        let done = self.asm.label();
        self.asm.load(Width::Eight, R1, R10, LINEAR);
        self.skip(done);
        self.asm.store(Width::Eight, R10, AMOUNT, R1);
        self.asm.store(Width::Four, R10, KEY + page::LENT, page::NOT_LENT);
        self.asm.store(Width::Four, R10, KEY + page::ORIGIN, page::LINEAR);
        self.count_pages();
        self.asm.here(done);
    }

    /// Fragments in a row with the same mapping are counted as one.
    fn count_fragments(&mut self) {
        let (end, last) = (self.end(), self.asm.label());
        self.shared_part(R9, R6, end);
        self.read_lent(LENT, R9);
        self.read_number(Width::One, R1, R9, self.offsets.shared_frag_count);
        self.asm.store(Width::Eight, R10, FRAGMENTS, R1);
        self.store_nothing(AMOUNT);
        self.asm.store(Width::Eight, R10, MAPPING, -1);
        for fragment in 0..FRAGMENTS_MAX {
            let (same, next) = (self.asm.label(), self.asm.label());
            self.asm.load(Width::Eight, R1, R10, FRAGMENTS);
            self.asm.jump_if(If::Equal, R1, i32::from(fragment), last);
            let at = self.offsets.shared_frags + fragment * self.offsets.frag_size;
            self.read_number(Width::Four, R1, R9, at + self.offsets.frag_len);
            self.skip(next);
            self.asm.store(Width::Eight, R10, TAKEN, R1);
            self.read_number(Width::Eight, R8, R9, at + self.offsets.frag_page);
            self.find_mapping();
            self.asm.load(Width::Eight, R1, R10, MAPPING);
            self.asm.jump_if(If::Equal, R8, R1, same);
            self.count_row();
            self.asm.store(Width::Eight, R10, MAPPING, R8);
            self.classify(KEY);
            self.asm.here(same);
            self.asm.load(Width::Eight, R1, R10, AMOUNT);
            self.asm.load(Width::Eight, R2, R10, TAKEN);
            self.asm.alu(Op::Add, R1, R2);
            self.asm.store(Width::Eight, R10, AMOUNT, R1);
            self.asm.here(next);
        }
        self.asm.load(Width::Eight, R1, R10, FRAGMENTS);
        self.asm.jump_if(If::Equal, R1, i32::from(FRAGMENTS_MAX), last);
        self.count_loss();
        self.asm.here(last);
        self.count_row();
    }

    /// Counts the row of fragments so far, and begins a new one.
    fn count_row(&mut self) {
        let none = self.asm.label();
        self.asm.load(Width::Eight, R1, R10, AMOUNT);
        self.asm.jump_if(If::Equal, R1, 0, none);
        self.asm.load(Width::Four, R1, R10, LENT);
        self.asm.store(Width::Four, R10, KEY + page::LENT, R1);
        self.count_pages();
        self.store_nothing(AMOUNT);
        self.asm.here(none);
    }

    fn count_pages(&mut self) {
        let full = self.asm.label();
        self.entry(self.maps.sent.as_fd(), KEY, full);
        self.asm.load(Width::Eight, R1, R10, AMOUNT);
        self.asm.atomic_add(R0, 0, R1);
        self.asm.here(full);
    }
}

const _: () = assert!(LOOK >= -512, "the frame has 512 bytes");
const _: () = assert!(PROCESS > SOCKET, "what learning a socket needs is above");
