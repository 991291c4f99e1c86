//! Reads the fields of a frame, whose sender is not trusted.
//!
//! Bytes and records are slices of the frame and not copied. Everything else that grows with the
//! frame is charged to a budget, a multiple of the frame's length: arrays of small elements take
//! more memory than bytes on the wire.
//!
//! Source: Kafka's protocol guide, "Protocol Primitive Types".

use bytes::Bytes;

/// What decoding may allocate for each byte of a frame. The densest message of a known client, a
/// name of one byte and an empty array of partitions, takes 12.
const BUDGET_PER_BYTE: usize = 16;

/// What the smallest frame may allocate.
const BUDGET_MIN: usize = 1024;

/// What is wrong with a frame, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {at}")]
pub(crate) struct Malformed {
    /// Where in the frame, behind its length.
    pub(crate) at: usize,
    /// What.
    pub(crate) fault: Fault,
}

#[cfg(fuzzing)]
impl Malformed {
    /// Whether memory alone is the reason.
    pub(crate) const fn is_of_budget(&self) -> bool {
        matches!(self.fault, Fault::Budget { .. })
    }
}

/// What can be wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The frame ends too early.
    #[error("{wanted} bytes wanted and {left} left")]
    Short { wanted: usize, left: usize },
    /// A length below -1.
    #[error("a length of {0}")]
    Length(i32),
    /// A string longer than Kafka's limit.
    #[error("a string of {0} bytes")]
    LongString(usize),
    /// An array that cannot be in what is left.
    #[error("an array of {count} elements in {left} bytes")]
    Count { count: usize, left: usize },
    /// Null where the version does not allow it.
    #[error("null where there must be a value")]
    Null,
    /// A varint of more than 32 bits.
    #[error("a varint of more than 32 bits")]
    Varint,
    /// A string that is not UTF-8.
    #[error("a string that is not UTF-8")]
    Utf8,
    /// More elements than such a frame may have.
    #[error("decoding takes {wanted} bytes of memory where {left} are left")]
    Budget { wanted: usize, left: usize },
}

/// A position in a frame.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    frame: &'a Bytes,
    at: usize,
    end: usize,
    budget: usize,
}

impl<'a> Reader<'a> {
    /// Reads `frame` from its start.
    pub(crate) fn new(frame: &'a Bytes) -> Self {
        let budget = frame.len().saturating_mul(BUDGET_PER_BYTE).max(BUDGET_MIN);
        Self { frame, at: 0, end: frame.len(), budget }
    }

    /// Bytes that follow.
    pub(crate) const fn left(&self) -> usize {
        self.end - self.at
    }

    /// A fault at this place.
    pub(crate) const fn fault(&self, fault: Fault) -> Malformed {
        Malformed { at: self.at, fault }
    }

    /// Takes `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        self.need(len)?;
        let taken = &self.frame[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    /// Takes `len` bytes as a part of the frame.
    pub(crate) fn slice(&mut self, len: usize) -> Result<Bytes, Malformed> {
        self.need(len)?;
        let slice = self.frame.slice(self.at..self.at + len);
        self.at += len;
        Ok(slice)
    }

    fn need(&self, wanted: usize) -> Result<(), Malformed> {
        let left = self.left();
        if wanted <= left { Ok(()) } else { Err(self.fault(Fault::Short { wanted, left })) }
    }

    /// Takes the bytes of a number.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Takes an UNSIGNED_VARINT: seven bits a byte, the lowest first.
    pub(crate) fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if bits.leading_zeros() < shift {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.fault(Fault::Varint))
    }

    /// Takes a length of two or four bytes, or a compact one; none is null.
    pub(crate) fn length(
        &mut self,
        is_short: bool,
        is_compact: bool,
    ) -> Result<Option<usize>, Malformed> {
        if is_compact {
            let length = self.varint()?;
            return Ok(length.checked_sub(1).map(|length| length as usize));
        }
        let length = if is_short {
            i32::from(i16::from_be_bytes(self.array()?))
        } else {
            i32::from_be_bytes(self.array()?)
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.fault(Fault::Length(length))),
        }
    }

    /// Room for `count` elements, if there can be that many.
    pub(crate) fn elements<T>(&mut self, count: usize) -> Result<Vec<T>, Malformed> {
        // Each takes a byte at least.
        let left = self.left();
        if count > left {
            return Err(self.fault(Fault::Count { count, left }));
        }
        self.charge(count.saturating_mul(size_of::<T>()))?;
        Ok(Vec::with_capacity(count))
    }

    /// Takes `wanted` bytes from the budget.
    pub(crate) fn charge(&mut self, wanted: usize) -> Result<(), Malformed> {
        let left = self.budget;
        let budget = left.checked_sub(wanted);
        self.budget = budget.ok_or_else(|| self.fault(Fault::Budget { wanted, left }))?;
        Ok(())
    }

    /// Takes a section of tagged fields, and shows each to `known`, which sees its bytes alone and
    /// need not read them.
    pub(crate) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            self.need(size)?;
            let behind = std::mem::replace(&mut self.end, self.at + size);
            known(tag, self)?;
            self.at = self.end;
            self.end = behind;
        }
        Ok(())
    }

    /// Takes a section of tagged fields none of which is known.
    pub(crate) fn skip_tags(&mut self) -> Result<(), Malformed> {
        self.tags(|_, _| Ok(()))
    }
}
