//! One reserved range of addresses in which every file mapping is.
//!
//! The range is cut into [`CLASSES`] equal spans; a span holds slots of one size, a power of
//! four pages. An address therefore names its slot by arithmetic, and a slot's entry names the
//! [`Region`] mapped there: finding the file behind a slice takes one atomic load and no lock,
//! which is also what lets the SIGBUS guard do it inside a signal.
//!
//! ```text
//! base          base + span    base + 2 span
//! | 4 KiB slots | 16 KiB slots | 64 KiB slots | ... | 1 TiB slots |
//! ```
//!
//! Source: mmap(2), "MAP_FIXED", "MAP_NORESERVE".

use std::num::NonZeroUsize;
use std::ptr;
use std::sync::OnceLock;

use rustix::io::Errno;

use crate::region::Region;
use crate::slots::Slots;
use crate::{last_errno, sigbus};

/// Sizes of slot: 4 KiB × 4⁰ … 4¹⁴, the last being 1 TiB.
const CLASSES: usize = 15;

const SMALLEST_SLOT_LOG2: usize = 12;

/// 1 TiB a class, 15 TiB in all, of the 128 TiB an x86-64 process has.
const SPAN_LOG2_WANTED: usize = 40;

/// Below this an address space is too tight for an arena to be of use.
const SPAN_LOG2_LEAST: usize = 26;

/// Slots a class has at most; the mappings themselves are bounded by `vm.max_map_count`.
const SLOTS_MAX: usize = 1 << 14;

/// The only page size the slots fit; elsewhere mapping is refused with `ENOTSUP`.
pub(crate) const PAGE_LEN: usize = 4096;

/// A slot's place in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    class: usize,
    index: usize,
}

/// The reservation and its table of slots. One a process, never given back.
pub(crate) struct Space {
    base: usize,
    span_log2: usize,
    classes: [Slots<Region>; CLASSES],
}

static SPACE: OnceLock<Result<Space, Errno>> = OnceLock::new();

impl Space {
    /// The space, reserved and guarded on the first call.
    pub(crate) fn get() -> Result<&'static Self, Errno> {
        let space = SPACE.get_or_init(|| {
            let space = Self::reserve()?;
            sigbus::install()?;
            Ok(space)
        });
        space.as_ref().map_err(|errno| *errno)
    }

    pub(crate) fn made() -> Option<&'static Self> {
        SPACE.get()?.as_ref().ok()
    }

    fn reserve() -> Result<Self, Errno> {
        if rustix::param::page_size() != PAGE_LEN {
            return Err(Errno::NOTSUP);
        }
        let mut span_log2 = SPAN_LOG2_WANTED;
        loop {
            match reserve(None, CLASSES << span_log2) {
                Ok(base) => {
                    let classes = std::array::from_fn(|class| {
                        Slots::new(((1 << span_log2) >> slot_log2(class)).min(SLOTS_MAX))
                    });
                    return Ok(Self { base, span_log2, classes });
                }
                // RLIMIT_AS, or a small address space (39 bits on some arm64 kernels).
                Err(Errno::NOMEM) if span_log2 > SPAN_LOG2_LEAST => span_log2 -= 2,
                Err(errno) => return Err(errno),
            }
        }
    }

    pub(crate) fn take(&self, len: NonZeroUsize) -> Result<Slot, Errno> {
        let slot = len.get().checked_next_power_of_two().ok_or(Errno::NOMEM)?;
        let slot_log2 = slot.trailing_zeros() as usize;
        let class = slot_log2.saturating_sub(SMALLEST_SLOT_LOG2).div_ceil(2);
        let index = self.classes.get(class).and_then(Slots::take).ok_or(Errno::NOMEM)?;
        Ok(Slot { class, index })
    }

    pub(crate) fn give_back(&self, slot: Slot) {
        self.classes[slot.class].give_back(slot.index);
    }

    /// Says whose slot it is; null for no one's.
    pub(crate) fn set_holder(&self, slot: Slot, region: *const Region) {
        self.classes[slot.class].set_holder(slot.index, region.cast_mut());
    }

    pub(crate) const fn address(&self, slot: Slot) -> usize {
        self.base + (slot.class << self.span_log2) + (slot.index << slot_log2(slot.class))
    }

    /// The entry for `address`: null if nothing is mapped there, `None` outside the arena.
    pub(crate) fn region_at(&self, address: usize) -> Option<*const Region> {
        let into = address.checked_sub(self.base)?;
        let class = into >> self.span_log2;
        let slots = self.classes.get(class)?;
        let index = (into & ((1 << self.span_log2) - 1)) >> slot_log2(class);
        slots.holder(index)
    }
}

const fn slot_log2(class: usize) -> usize {
    SMALLEST_SLOT_LOG2 + 2 * class
}

/// Reserves addresses without memory behind them: anywhere, or over what is mapped at `at`.
pub(crate) fn reserve(at: Option<usize>, len: usize) -> Result<usize, Errno> {
    let fixed = if at.is_some() { libc::MAP_FIXED } else { 0 };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | fixed;
    let hint = ptr::with_exposed_provenance_mut(at.unwrap_or(0));
    // SAFETY: mmap(2): without MAP_FIXED the kernel picks unused addresses; with it, the range
    // is one slot whose region is going and to which no slice is left.
    let base = unsafe { libc::mmap(hint, len, libc::PROT_NONE, flags, -1, 0) };
    if base == libc::MAP_FAILED { Err(last_errno()) } else { Ok(base.expose_provenance()) }
}

/// For the SIGBUS guard: if `address` is in a region, makes it readable and says so.
pub(crate) fn patch(address: usize) -> bool {
    let Some(region) = Space::made().and_then(|space| space.region_at(address)) else {
        return false;
    };
    // SAFETY: std::ptr "validity": the code that touched the address holds a slice of the region or
    // the region itself, so the entry points to a live one.
    unsafe { region.as_ref() }.is_some_and(|region| region.patch(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As far above as a stack is from an arena below `RLIMIT_AS`, or from one near the bottom.
    #[test]
    fn an_address_far_above_the_arena_is_in_no_slot() {
        let span_log2 = SPAN_LOG2_LEAST;
        let classes = std::array::from_fn(|_| Slots::new(1));
        let space = Space { base: PAGE_LEN, span_log2, classes };
        for far in [usize::MAX, 1 << 46, PAGE_LEN + (CLASSES << span_log2), PAGE_LEN - 1] {
            assert_eq!(space.region_at(far), None, "{far:#x}");
        }
        assert_eq!(space.region_at(PAGE_LEN), Some(ptr::null()));
    }
}
