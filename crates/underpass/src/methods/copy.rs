//! read(2) and write(2), each with an offset for files; and the sending of memory.
//!
//! Memory pieces, what has been read of a file, and the memory that follows it go in one
//! sendmsg(2): a small response is one call and one packet train. `MSG_MORE` is set only where
//! more can follow at once, since it holds a partial segment back for up to 200 ms.
//!
//! Source: send(2), `MSG_MORE`; tcp(7), `TCP_CORK`; writev(2), `IOV_MAX`.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use crate::kind::Kind;
use crate::limits::QUANTUM;
use crate::methods::count;
use crate::sink::Outlet;
use crate::source::Piece;

/// Slices one call takes.
pub(crate) const SLICES_MAX: usize = 64;

/// Fills `room`; from a file at `at`, from a stream where it is.
pub(crate) fn fill(source: BorrowedFd<'_>, at: Option<u64>, room: &mut [u8]) -> Result<u64, Errno> {
    match at {
        Some(at) => rustix::io::pread(source, room, at),
        None => rustix::io::read(source, room),
    }
    .map(|n| n as u64)
}

/// What one call sends: memory, then bytes read from the first piece that is not memory, then,
/// if that piece ends with them, memory again.
#[derive(Debug)]
pub(crate) struct Gathered<'p> {
    slices: [IoSlice<'p>; SLICES_MAX],
    used: usize,
    /// Bytes of memory pieces before the buffered ones.
    pub(crate) ahead: u64,
    /// Buffered bytes.
    pub(crate) own: u64,
    total: u64,
    more: bool,
}

impl<'p> Gathered<'p> {
    /// Gathers up to [`QUANTUM`] bytes. `buffered` are bytes of the first piece that is not memory;
    /// `all_of_it` says that it has no others.
    pub(crate) fn new(pieces: &'p VecDeque<Piece>, buffered: &'p [u8], all_of_it: bool) -> Self {
        let mut this = Self {
            slices: [IoSlice::new(&[]); SLICES_MAX],
            used: 0,
            ahead: 0,
            own: 0,
            total: 0,
            more: false,
        };
        let mut met = false;
        for piece in pieces {
            match piece {
                Piece::Memory(bytes) => {
                    let n = this.push(bytes);
                    this.ahead += if met { 0 } else { n };
                    if n < bytes.len() as u64 {
                        this.more = true;
                        break;
                    }
                }
                Piece::File { .. } | Piece::Stream { .. } => {
                    this.own += if met { 0 } else { this.push(buffered) };
                    let whole = !met && this.own > 0 && this.own == buffered.len() as u64;
                    if !(whole && all_of_it) {
                        this.more = piece.is_at_hand();
                        break;
                    }
                    met = true;
                }
            }
        }
        this
    }

    fn push(&mut self, bytes: &'p [u8]) -> u64 {
        let room = if self.used == SLICES_MAX { 0 } else { QUANTUM - self.total };
        let part = &bytes[..bytes.len().min(count(room))];
        if !part.is_empty() {
            self.slices[self.used] = IoSlice::new(part);
            self.used += 1;
            self.total += part.len() as u64;
        }
        part.len() as u64
    }

    /// Sends it.
    pub(crate) fn send(&self, sink: BorrowedFd<'_>, outlet: &Outlet) -> Result<u64, Errno> {
        let slices = &self.slices[..self.used];
        if let Some(records) = &outlet.records {
            return records.write(sink, slices);
        }
        match outlet.kind {
            Kind::Socket => {
                let mut flags = SendFlags::NOSIGNAL;
                flags.set(SendFlags::MORE, self.more);
                let mut nothing = SendAncillaryBuffer::default();
                rustix::net::sendmsg(sink, slices, &mut nothing, flags)
            }
            Kind::File => rustix::io::pwritev(sink, slices, outlet.at),
            Kind::Pipe | Kind::Memory | Kind::Tls | Kind::Other => rustix::io::writev(sink, slices),
        }
        .map(|n| n as u64)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::progress::Progress;

    fn memory(bytes: &'static str) -> Piece {
        Piece::Memory(Bytes::from(bytes))
    }

    fn stream(len: Option<u64>) -> Piece {
        Piece::Stream { kind: Kind::Pipe, progress: Progress::new(len), records: None }
    }

    fn sent(gathered: &Gathered<'_>) -> Vec<u8> {
        gathered.slices.iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    #[test]
    fn head_file_and_trailer_go_together_when_the_file_ends_with_what_is_buffered() {
        let pieces = VecDeque::from([memory("ab"), stream(Some(3)), memory("yz")]);
        let gathered = Gathered::new(&pieces, b"123", true);
        assert_eq!(sent(&gathered), b"ab123yz");
        assert_eq!((gathered.ahead, gathered.own, gathered.more), (2, 3, false));
        let gathered = Gathered::new(&pieces, b"123", false);
        assert_eq!((sent(&gathered), gathered.more), (b"ab123".to_vec(), false));
    }

    #[test]
    fn nothing_of_a_second_stream_is_taken_for_the_first_ones() {
        let pieces = VecDeque::from([stream(Some(3)), memory("-"), stream(Some(9))]);
        let gathered = Gathered::new(&pieces, b"123", true);
        assert_eq!((sent(&gathered), gathered.own), (b"123-".to_vec(), 3));
    }

    #[test]
    fn a_head_alone_is_sent_as_more_to_come_only_before_memory() {
        let before_stream = VecDeque::from([memory("ab"), stream(None)]);
        assert!(!Gathered::new(&before_stream, b"", false).more);
        let many: VecDeque<_> = (0..65).map(|_| memory("x")).collect();
        let gathered = Gathered::new(&many, b"", false);
        assert_eq!((gathered.ahead, gathered.more), (64, true));
        let long = VecDeque::from([Piece::Memory(Bytes::from(vec![7; (2 << 20) + 1]))]);
        let gathered = Gathered::new(&long, b"", false);
        assert_eq!((gathered.ahead, gathered.more), (2 << 20, true));
    }
}
