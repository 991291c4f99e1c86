//! What goes wrong with one answer.

use super::object::Framing;

/// What an origin does wrong, or in another way than it was asked. Several may come together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset in place of an answer.
    Reset,
    /// It is reset within the head.
    ResetInHead,
    /// Nothing comes until [`Origin::release`](super::Origin::release).
    Stall,
    /// This happens when that many bytes of this answer's content were sent; 0 is behind the head.
    At(u64, Stop),
    /// The Content-Length says this; the content is what it would have been, and then the
    /// connection is closed.
    Length(u64),
    /// Content that ends in another way.
    Framed(Framing),
    /// A 200 with everything to a request for a range.
    IgnoreRange,
    /// As if there were no If-Match, If-None-Match, If-Range and dates.
    IgnoreConditions,
    /// An answer of another generation than the object's, whatever the conditions: its bytes with
    /// its tag. The object stays.
    Another,
    /// The Content-Range says so, whatever follows.
    ContentRange(String),
    /// This status, with a line of text as its content.
    Status(u16),
    /// One more field.
    Field(String, String),
}

impl Fault {
    pub(super) fn status(&self) -> Option<u16> {
        if let Self::Status(status) = self { Some(*status) } else { None }
    }

    pub(super) fn stop(&self) -> Option<(u64, Stop)> {
        if let Self::At(at, stop) = self { Some((*at, *stop)) } else { None }
    }

    pub(super) fn length(&self) -> Option<u64> {
        if let Self::Length(len) = self { Some(*len) } else { None }
    }
}

/// What happens within content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The connection is reset.
    Reset,
    /// It is closed, as if that were the end.
    Cut,
    /// Nothing more comes until [`Origin::release`](super::Origin::release).
    Stall,
    /// The object is replaced by one of the same look; the rest of the answer is of the one before.
    Replace,
}
