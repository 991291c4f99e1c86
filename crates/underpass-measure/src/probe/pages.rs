//! Where the page of a fragment comes from.
//!
//! A page of a file has a mapping that leads to its inode; one of a process has a mapping whose
//! lowest bit is set; one that the kernel allocated for itself has none. A page within a larger
//! folio tells of it only by its head.
//!
//! Source: linux/page-flags.h (`compound_head`, `PAGE_MAPPING_FLAGS`); linux/skbuff.h.

use crate::assembler::Reg::{self, R1, R8, R10};
use crate::assembler::{If, Label, Op, Width};

use super::layout::page;
use super::program::{NOTHING, Program};

/// `SKBFL_ZEROCOPY_ENABLE` and `SKBFL_SHARED_FRAG`.
const ZERO_COPY_FLAG: i32 = 1;
const SHARED_FLAG: i32 = 2;

/// Tags in the lowest bits of `page.mapping`.
const ANONYMOUS_TAG: i32 = 1;
const MOVABLE_TAG: i32 = 2;

impl Program<'_> {
    /// Makes of the page at R8 its mapping; 0 if it has none.
    pub(crate) fn find_mapping(&mut self) {
        let (done, head) = (self.asm.label(), self.asm.label());
        // The lowest bit of a netmem_ref says that it is not a page.
        self.asm.alu(Op::And, R8, !1);
        self.asm.jump_if(If::Equal, R8, 0, done);
        self.read_number(Width::Eight, R1, R8, self.offsets.page_compound);
        let is_head = self.asm.label();
        self.asm.jump_if(If::AnyBit, R1, 1, head);
        self.asm.jump(is_head);
        self.asm.here(head);
        self.asm.alu(Op::Sub, R1, 1);
        self.asm.mov(R8, R1);
        self.asm.here(is_head);
        self.read_number(Width::Eight, R8, R8, self.offsets.page_mapping);
        self.asm.here(done);
    }

    /// Writes origin, device and inode of pages with the mapping R8 into a key. R8 is lost.
    pub(crate) fn classify(&mut self, key: i16) {
        let done = self.asm.label();
        self.asm.store(Width::Four, R10, key + page::ORIGIN, page::KERNEL);
        self.asm.load(Width::Eight, R1, R10, NOTHING);
        self.asm.store(Width::Four, R10, key + page::DEVICE, R1);
        self.asm.store(Width::Eight, R10, key + page::INODE, R1);
        self.asm.jump_if(If::Equal, R8, 0, done);
        let of_no_file = self.asm.label();
        self.asm.jump_if(If::AnyBit, R8, ANONYMOUS_TAG | MOVABLE_TAG, of_no_file);
        self.follow(R8, R8, self.offsets.mapping_host, done);
        self.asm.store(Width::Four, R10, key + page::ORIGIN, page::PAGE_CACHE);
        self.read(key + page::INODE, 8, R8, self.offsets.inode_number);
        self.follow(R8, R8, self.offsets.inode_super, done);
        self.read(key + page::DEVICE, 4, R8, self.offsets.super_device);
        self.asm.jump(done);
        self.asm.here(of_no_file);
        let tagged = self.asm.label();
        self.asm.jump_if(If::AnyBit, R8, ANONYMOUS_TAG, tagged);
        self.asm.jump(done);
        self.asm.here(tagged);
        self.asm.store(Width::Four, R10, key + page::ORIGIN, page::ANONYMOUS);
        self.asm.here(done);
    }

    /// Notes at `to`, four bytes, how the pages of the buffer with this shared part were lent.
    pub(crate) fn read_lent(&mut self, to: i16, shared: Reg) {
        let (done, zero_copy, lent) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.read_number(Width::One, R1, shared, self.offsets.shared_flags);
        self.asm.store(Width::Four, R10, to, page::NOT_LENT);
        self.asm.jump_if(If::AnyBit, R1, ZERO_COPY_FLAG, zero_copy);
        self.asm.jump_if(If::AnyBit, R1, SHARED_FLAG, lent);
        self.asm.jump(done);
        self.asm.here(zero_copy);
        self.asm.store(Width::Four, R10, to, page::ZERO_COPY);
        self.asm.jump(done);
        self.asm.here(lent);
        self.asm.store(Width::Four, R10, to, page::SHARED);
        self.asm.here(done);
    }

    /// `dst` = the shared part of the socket buffer at `skb`: what is behind its linear part.
    pub(crate) fn shared_part(&mut self, dst: Reg, skb: Reg, if_null: Label) {
        self.follow(dst, skb, self.offsets.skb_head, if_null);
        self.read_number(Width::Four, R1, skb, self.offsets.skb_end);
        self.asm.alu(Op::Add, dst, R1);
    }
}
