//! What a system call's answer means: the one place that decides it.
//!
//! Pure: counts and errnos go in, a verdict comes out, and the position moves accordingly. The
//! drivers and methods around it hold no rules about short counts, interruptions,
//! waiting, ends and refusals.
//!
//! Source: ERRORS and RETURN VALUE of sendfile(2), splice(2), copy_file_range(2), send(2).

use rustix::io::Errno;

use crate::ledger::Side;
use crate::limits::QUANTUM;
use crate::method::Method;

/// The most a copy_file_range(2) moves: no peer takes part, and on Linux 6.18 calls of 2 MiB cost 3
/// to 4 % more than one of everything. A call that has begun looks at no signal until it ends.
const FILE_QUANTUM: u64 = 16 << 20;

/// The most a step by this method moves.
pub(crate) const fn quantum(method: Method) -> u64 {
    if matches!(method, Method::CopyFileRange) { FILE_QUANTUM } else { QUANTUM }
}

/// Which part of the way a call moves bytes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    /// From the source to the sink.
    Through,
    /// From the source to a pipe or buffer of ours.
    In,
    /// From there to the sink.
    Out,
}

/// One system call, as far as the meaning of its answer depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) leg: Leg,
    /// Who is not ready if the answer is `EAGAIN`.
    pub(crate) blocked: Side,
    /// Bytes of memory pieces that precede the piece's own in the same call.
    pub(crate) ahead: u64,
    /// The piece's own bytes in the call.
    pub(crate) own: u64,
}

/// What an answer means for the transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The sink took this many bytes, memory pieces included.
    Moved(u64),
    /// This many were taken from the source and are in between.
    Buffered(u64),
    /// A signal came first; nothing moved.
    Interrupted,
    /// Nothing moves until this side is ready.
    Wait(Side),
    /// The stream has ended, as streams may.
    Ended,
    /// The source owed this many bytes more.
    Truncated { missing: u64 },
    /// The method cannot do this here; nothing moved, another may try.
    Refused(Option<Errno>),
    /// The call failed.
    Failed(Errno),
}

/// How far one piece has come. `given <= taken <= len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    len: Option<u64>,
    taken: u64,
    given: u64,
}

impl Progress {
    /// At the start of a piece of `len` bytes; `None` for a stream until its end.
    pub(crate) const fn new(len: Option<u64>) -> Self {
        Self { len, taken: 0, given: 0 }
    }

    pub(crate) const fn len(&self) -> Option<u64> {
        self.len
    }

    /// Bytes that have left the source.
    pub(crate) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Bytes still to take; `u64::MAX` if that is unknown.
    pub(crate) const fn left(&self) -> u64 {
        match self.len {
            Some(len) => len - self.taken,
            None => u64::MAX,
        }
    }

    /// Bytes on the way: taken, not given.
    pub(crate) const fn buffered(&self) -> u64 {
        self.taken - self.given
    }

    /// Whether the sink has it all.
    pub(crate) const fn is_over(&self) -> bool {
        self.left() == 0 && self.buffered() == 0
    }

    /// Accounts for one call.
    pub(crate) fn answer(&mut self, call: Call, answer: Result<u64, Errno>) -> Verdict {
        let n = match answer {
            Err(Errno::INTR) => return Verdict::Interrupted,
            Err(Errno::AGAIN) => return Verdict::Wait(call.blocked),
            Err(errno) => return self.refusal(call, errno),
            Ok(0) => return self.nothing(call),
            Ok(n) => n,
        };
        let own = n.saturating_sub(call.ahead).min(call.own);
        debug_assert!(call.leg == Leg::Out || n == own, "{call:?} moved {n}");
        match call.leg {
            Leg::Through => {
                self.taken += own;
                self.given += own;
                Verdict::Moved(n)
            }
            Leg::In => {
                self.taken += own;
                Verdict::Buffered(n)
            }
            Leg::Out => {
                self.given += own;
                Verdict::Moved(n)
            }
        }
    }

    /// A count of 0, which is an end only where bytes were being taken.
    fn nothing(&mut self, call: Call) -> Verdict {
        match (call.leg, self.len) {
            // write(2) promises progress or an errno; a sink with neither would spin for ever.
            (Leg::Out, _) => Verdict::Failed(Errno::IO),
            (_, None) => {
                self.len = Some(self.taken);
                Verdict::Ended
            }
            // copy_file_range(2), BUGS: before 5.19 some file systems (procfs) answered 0 for
            // files that have bytes.
            (_, Some(_)) if call.method == Method::CopyFileRange && self.taken == 0 => {
                Verdict::Refused(None)
            }
            (_, Some(len)) => Verdict::Truncated { missing: len - self.taken },
        }
    }

    fn refusal(&self, call: Call, errno: Errno) -> Verdict {
        if errno == Errno::FAULT && sends_a_mapping(call.method) {
            // The kernel met the end of the file inside the mapping.
            return Verdict::Truncated { missing: self.left() };
        }
        if is_refusal(call.method, errno, self.taken == 0) {
            Verdict::Refused(Some(errno))
        } else {
            Verdict::Failed(errno)
        }
    }
}

const fn sends_a_mapping(method: Method) -> bool {
    matches!(method, Method::MmapWrite | Method::ZeroCopySend | Method::UringSendZc)
}

/// Whether `errno` says that `method` is not possible here, rather than that bytes cannot move.
///
/// `EPERM` and `EACCES` are what seccomp profiles that deny a call answer. A wrong guess costs
/// one call: the method tried next meets the real error.
pub(crate) fn is_refusal(method: Method, errno: Errno, at_start: bool) -> bool {
    let anywhere =
        [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM, Errno::ACCESS].contains(&errno);
    match method {
        Method::Copy => false,
        Method::Sendfile => anywhere,
        // pipe2(2) may fail for want of descriptors.
        Method::Splice | Method::UringSplice => {
            anywhere || [Errno::MFILE, Errno::NFILE, Errno::NOMEM].contains(&errno)
        }
        // mmap(2): ENODEV where the file system has no mappings.
        Method::MmapWrite => anywhere || [Errno::NODEV, Errno::NOMEM].contains(&errno),
        // copy_file_range(2): EBADF for O_APPEND sinks; CIFS servers answer EIO.
        Method::CopyFileRange | Method::Clone => {
            anywhere
                || [Errno::XDEV, Errno::OVERFLOW, Errno::TXTBSY].contains(&errno)
                || (at_start && [Errno::BADF, Errno::IO].contains(&errno))
        }
        // msg_zerocopy.rst: ENOBUFS when the option memory or the locked-page limit is used up.
        Method::ZeroCopySend | Method::UringSendZc => {
            anywhere || [Errno::NOBUFS, Errno::NOMEM, Errno::NODEV, Errno::MFILE].contains(&errno)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn call(leg: Leg, own: u64) -> Call {
        let blocked = if leg == Leg::In { Side::Source } else { Side::Sink };
        Call { method: Method::Splice, leg, blocked, ahead: 0, own }
    }

    /// What a made-up kernel does with one call.
    #[derive(Debug, Clone, Copy)]
    enum Play {
        AtMost(u64),
        Fail(Errno),
    }

    fn plays() -> impl Strategy<Value = Vec<Play>> {
        vec(
            prop_oneof![
                3 => (1..700_u64).prop_map(Play::AtMost),
                1 => Just(Play::Fail(Errno::INTR)),
                1 => Just(Play::Fail(Errno::AGAIN)),
            ],
            0..60,
        )
    }

    /// Runs a piece against the script, through a store of ours or directly; checks that each
    /// byte is taken once and in order and given once and in order, and returns the last verdict.
    fn play(
        len: Option<u64>,
        exists: u64,
        buffering: bool,
        script: Vec<Play>,
    ) -> (Progress, Verdict) {
        let mut progress = Progress::new(len);
        let (mut taken, mut given) = (0, 0);
        let mut script = script.into_iter();
        loop {
            if progress.is_over() {
                return (progress, Verdict::Ended);
            }
            let leg = match (buffering, progress.buffered()) {
                (false, _) => Leg::Through,
                (true, 0) => Leg::In,
                (true, _) => Leg::Out,
            };
            let own = if leg == Leg::Out { progress.buffered() } else { progress.left().min(999) };
            let there = if leg == Leg::Out { own } else { own.min(exists - taken) };
            let answer = match script.next().unwrap_or(Play::AtMost(1)) {
                Play::AtMost(n) => Ok(n.min(there)),
                Play::Fail(errno) => Err(errno),
            };
            assert_eq!((progress.taken(), progress.taken() - progress.buffered()), (taken, given));
            let n = answer.unwrap_or(0);
            taken += if leg == Leg::Out { 0 } else { n };
            given += if leg == Leg::In { 0 } else { n };
            match (progress.answer(call(leg, own), answer), answer) {
                (Verdict::Moved(m), Ok(n)) => assert!(m == n && leg != Leg::In),
                (Verdict::Buffered(m), Ok(n)) => assert!(m == n && leg == Leg::In),
                (Verdict::Interrupted, Err(Errno::INTR)) => {}
                (Verdict::Wait(side), Err(Errno::AGAIN)) => {
                    assert_eq!(side == Side::Source, leg == Leg::In);
                }
                (end, Ok(0)) => return (progress, end),
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        /// Whatever counts, interruptions and waits the kernel answers with, every byte of the
        /// range crosses once and in order, directly or by way of a store.
        #[test]
        fn every_byte_crosses_once(len in 0..5_000_u64, buffering: bool, script in plays()) {
            let (progress, _) = play(Some(len), len, buffering, script);
            prop_assert_eq!((progress.taken(), progress.buffered()), (len, 0));
        }

        /// A source that ends early is Truncated by exactly what it owes, with nothing buffered.
        #[test]
        fn a_short_source_owes_the_rest(
            exists in 0..3_000_u64, owed in 1..1_000_u64, buffering: bool, script in plays(),
        ) {
            let (progress, verdict) = play(Some(exists + owed), exists, buffering, script);
            prop_assert_eq!(verdict, Verdict::Truncated { missing: owed });
            prop_assert_eq!((progress.taken(), progress.buffered()), (exists, 0));
        }

        /// A stream without a length is over when it ends, and all of it has crossed.
        #[test]
        fn a_stream_ends_where_it_ends(exists in 0..3_000_u64, buffering: bool, script in plays()) {
            let (progress, verdict) = play(None, exists, buffering, script);
            prop_assert_eq!(verdict, Verdict::Ended);
            prop_assert!(progress.is_over());
            prop_assert_eq!(progress.taken(), exists);
        }
    }

    #[test]
    fn memory_ahead_in_the_same_call_does_not_count_as_the_piece() {
        let mut progress = Progress::new(Some(10));
        let park = Call { method: Method::Copy, ..call(Leg::In, 10) };
        assert_eq!(progress.answer(park, Ok(10)), Verdict::Buffered(10));
        let both = Call { ahead: 5, ..call(Leg::Out, 10) };
        assert_eq!(progress.answer(both, Ok(3)), Verdict::Moved(3));
        assert_eq!(progress.buffered(), 10);
        let rest = Call { ahead: 2, ..call(Leg::Out, 10) };
        assert_eq!(progress.answer(rest, Ok(6)), Verdict::Moved(6));
        assert_eq!(progress.buffered(), 6);
        // A memory piece behind it went along.
        assert_eq!(progress.answer(call(Leg::Out, 6), Ok(8)), Verdict::Moved(8));
        assert!(progress.is_over());
    }

    #[test]
    fn a_sink_that_takes_nothing_is_an_error_and_not_an_end() {
        let mut progress = Progress::new(None);
        progress.answer(call(Leg::In, 9), Ok(9));
        let verdict = progress.answer(call(Leg::Out, 9), Ok(0));
        assert_eq!((verdict, progress.buffered()), (Verdict::Failed(Errno::IO), 9));
    }

    #[test]
    fn refusals_are_told_from_failures() {
        let verdict = |method, taken, errno| {
            let mut progress = Progress::new(Some(100));
            progress.answer(call(Leg::Through, taken), Ok(taken));
            progress.answer(Call { method, ..call(Leg::Through, 50) }, Err(errno))
        };
        use Method::{CopyFileRange, Sendfile, Splice, ZeroCopySend};
        for method in Method::ALL.iter().copied().filter(|&m| m != Method::Copy) {
            for errno in [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM, Errno::ACCESS]
            {
                assert_eq!(verdict(method, 7, errno), Verdict::Refused(Some(errno)), "{method}");
            }
            for errno in [Errno::PIPE, Errno::CONNRESET, Errno::NOSPC] {
                assert_eq!(verdict(method, 7, errno), Verdict::Failed(errno), "{method}");
            }
        }
        assert_eq!(verdict(Method::Copy, 7, Errno::INVAL), Verdict::Failed(Errno::INVAL));
        let refused = |errno| Verdict::Refused(Some(errno));
        assert_eq!(verdict(CopyFileRange, 7, Errno::XDEV), refused(Errno::XDEV));
        assert_eq!(verdict(Sendfile, 7, Errno::XDEV), Verdict::Failed(Errno::XDEV));
        assert_eq!(verdict(CopyFileRange, 0, Errno::IO), refused(Errno::IO));
        assert_eq!(verdict(CopyFileRange, 7, Errno::IO), Verdict::Failed(Errno::IO));
        assert_eq!(verdict(ZeroCopySend, 7, Errno::NOBUFS), refused(Errno::NOBUFS));
        assert_eq!(verdict(Splice, 0, Errno::MFILE), refused(Errno::MFILE));
        assert_eq!(verdict(Method::MmapWrite, 7, Errno::FAULT), Verdict::Truncated { missing: 93 });
        assert_eq!(verdict(Sendfile, 7, Errno::FAULT), Verdict::Failed(Errno::FAULT));
    }

    #[test]
    fn copy_file_ranges_first_0_is_a_refusal_and_a_later_one_the_end() {
        let call = Call { method: Method::CopyFileRange, ..call(Leg::Through, 100) };
        let mut progress = Progress::new(Some(100));
        assert_eq!(progress.answer(call, Ok(0)), Verdict::Refused(None));
        assert_eq!(progress.answer(call, Ok(60)), Verdict::Moved(60));
        assert_eq!(progress.answer(call, Ok(0)), Verdict::Truncated { missing: 40 });
    }
}
