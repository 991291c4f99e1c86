//! Peers that leave, chains, and what is sent together.

use std::fs::File;
use std::io::{ErrorKind as IoKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use underpass::{Error, ErrorKind, Method, Policy, Side, Sink, Source, Step, Transfer, transfer};
use underpass_testkit::payload::{difference, pattern, patterned_file};
use underpass_testkit::peer::{Way, collect, feed, leave, set_nonblocking};
#[cfg(feature = "uring")]
use underpass_testkit::{kernel, require, skip::Capability};

const LEN: u64 = 3_000_000;

fn read_some(read: &OwnedFd, len: usize) -> Vec<u8> {
    let mut got = vec![0; len];
    File::from(read.try_clone().unwrap()).read_exact(&mut got).unwrap();
    got
}

/// Steps until the sink takes no more, then reads what it has without ending the stream.
fn fill(transfer: &mut Transfer<'_>) {
    loop {
        match transfer.step().unwrap() {
            Step::Wait(side) => return assert_eq!(side, Side::Sink),
            Step::Moved(_) | Step::Buffered(_) => {}
            end @ (Step::Done | Step::Cold { .. } | _) => panic!("{end:?}"),
        }
    }
}

#[test]
fn a_peer_that_leaves_half_way_is_an_error_with_the_exact_count() {
    let file = patterned_file(LEN).unwrap();
    for way in Way::ALL {
        for method in [Method::Copy, Method::MmapWrite, Method::Sendfile, Method::Splice] {
            let (write, read) = way.connect_small().unwrap();
            set_nonblocking(&write, true).unwrap();
            let mut transfer =
                Transfer::new(Source::file(&file, ..).unwrap(), Sink::stream(&write))
                    .policy(Policy::Only(method));
            fill(&mut transfer);
            let accepted = transfer.moved();
            let got = read_some(&read, usize::try_from(accepted).unwrap());
            assert_eq!(difference(&got, 0, accepted), None, "{method} {way:?}");
            if way == Way::Tcp {
                // Closing resets, as a killed peer with unread bytes does.
                set_socket_linger(&read, Some(std::time::Duration::ZERO)).unwrap();
            }
            leave(read, &write).unwrap();
            let error = transfer.run().unwrap_err();
            let Error { moved, kind: ErrorKind::Io(errno), .. } = error else {
                panic!("{method} {way:?}: {error}");
            };
            assert!([Errno::PIPE, Errno::CONNRESET].contains(&errno), "{method} {way:?}: {error}");
            assert_eq!(moved, accepted, "{method} {way:?}");
            assert_eq!(transfer.moved(), accepted);
            assert_eq!(error.buffered, transfer.buffered());
        }
    }
}

#[test]
fn a_feeder_that_leaves_early_is_truncated_by_what_it_owes() {
    for from in [Way::Tcp, Way::Unix, Way::Pipe] {
        for method in [Method::Copy, Method::Splice] {
            let (write, read) = from.connect().unwrap();
            let feeder = feed(write, pattern(0..100_000));
            let (sink, end) = Way::Tcp.connect().unwrap();
            let got = collect(end);
            let mut transfer =
                Transfer::new(Source::stream(&read).take(100_007), Sink::stream(&sink))
                    .policy(Policy::Only(method));
            let error = transfer.run().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Truncated { missing: 7 }, "{method} {from:?}");
            assert_eq!((error.moved, error.buffered), (100_000, 0), "{method} {from:?}");
            assert_eq!(std::io::Error::from(error).kind(), IoKind::UnexpectedEof);
            drop(transfer);
            drop(sink);
            assert_eq!(difference(&got.join().unwrap().unwrap(), 0, 100_000), None);
            feeder.join().unwrap().unwrap();
        }
    }
}

#[test]
fn a_step_on_an_idle_source_says_which_side_it_waits_for() {
    for (from, to) in [(Way::Tcp, Way::Tcp), (Way::Pipe, Way::Tcp), (Way::Unix, Way::Pipe)] {
        let (write, read) = from.connect_small().unwrap();
        let (sink, _end) = to.connect_small().unwrap();
        set_nonblocking(&read, true).unwrap();
        set_nonblocking(&sink, true).unwrap();
        let mut transfer = Transfer::new(Source::stream(&read), Sink::stream(&sink));
        assert_eq!(transfer.side(), Some(Side::Source));
        assert_eq!(transfer.step(), Ok(Step::Wait(Side::Source)), "{from:?} {to:?}");
        // A source with more than all buffers hold, and a sink that is not read: the sink it is.
        let feeder = feed(write, pattern(0..LEN));
        let blocked = loop {
            match transfer.step().unwrap() {
                Step::Wait(Side::Sink) => break Side::Sink,
                Step::Wait(Side::Source) => wait_readable(&read),
                Step::Moved(_) | Step::Buffered(_) => {}
                end @ (Step::Done | Step::Cold { .. } | _) => panic!("{end:?}"),
            }
        };
        assert_eq!(blocked, Side::Sink);
        assert!(transfer.ledger().waits(Side::Source) >= 1);
        drop(transfer);
        drop((read, sink, _end));
        feeder.join().unwrap().unwrap_err();
    }
}

fn wait_readable(fd: &OwnedFd) {
    let mut fds = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, None).unwrap();
}

#[test]
fn a_head_and_a_small_file_are_one_call() {
    let file = patterned_file(4_096).unwrap();
    let (sink, end) = Way::Tcp.connect().unwrap();
    let head = Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n");
    let mut transfer = Transfer::new(Source::bytes(head.clone()), Sink::stream(&sink))
        .chain(Source::file(&file, ..).unwrap())
        .chain(Source::bytes("trailer"));
    let whole = 19 + 4_096 + 7;
    assert_eq!(transfer.step(), Ok(Step::Buffered(4_096)));
    assert_eq!(transfer.step(), Ok(Step::Moved(whole)));
    assert_eq!(transfer.step(), Ok(Step::Done));
    assert_eq!(transfer.ledger().calls(), 2);
    drop(transfer);
    drop(sink);
    let got = collect(end).join().unwrap().unwrap();
    let want = [&head[..], &pattern(0..4_096), b"trailer"].concat();
    assert!(got == want, "{} bytes", got.len());
}

#[test]
fn a_head_before_a_truncated_small_file_is_not_sent() {
    let file = patterned_file(10).unwrap();
    let (sink, end) = Way::Tcp.connect().unwrap();
    let mut transfer = Transfer::new(Source::bytes("head"), Sink::stream(&sink))
        .chain(Source::file(&file, 10..30).unwrap());
    let error = transfer.run().unwrap_err();
    assert_eq!((error.moved, error.kind), (0, ErrorKind::Truncated { missing: 20 }));
    drop(transfer);
    drop(sink);
    assert_eq!(collect(end).join().unwrap().unwrap(), b"");
}

#[test]
fn a_sink_that_cannot_be_spliced_to_gets_what_was_buffered_for_it() {
    // An O_APPEND file takes no splice(2); by then the pipe holds what the socket gave.
    let sink = patterned_file(0).unwrap();
    let flags = rustix::fs::OFlags::APPEND;
    rustix::fs::fcntl_setfl(&sink, flags).unwrap();
    let (write, read) = Way::Tcp.connect().unwrap();
    let feeder = feed(write, pattern(0..LEN));
    let ledger = transfer(Source::stream(&read), Sink::file(&sink, 0)).unwrap();
    feeder.join().unwrap().unwrap();
    assert_eq!(ledger.fallbacks().len(), 1, "{ledger}");
    let fallback = ledger.fallbacks()[0];
    assert_eq!((fallback.from, fallback.to), (Method::Splice, Method::Copy));
    assert_eq!((fallback.errno, fallback.at), (Some(Errno::INVAL), 0));
    assert_eq!(sink.metadata().unwrap().len(), LEN);
    let mut whole = vec![0; usize::try_from(LEN).unwrap()];
    sink.read_exact_at(&mut whole, 0).unwrap();
    assert_eq!(difference(&whole, 0, LEN), None);
}

#[test]
fn a_pipe_that_is_left_dirty_reaches_nobody_else() {
    // Kill one relay with bytes in its pipe, then run others: the pool must not hand it on.
    for _ in 0..20 {
        let (write, read) = Way::Tcp.connect().unwrap();
        let feeder = feed(write, vec![0xEE; 500_000]);
        let (sink, end) = Way::Tcp.connect().unwrap();
        set_nonblocking(&sink, true).unwrap();
        let mut dirty = Transfer::new(Source::stream(&read), Sink::stream(&sink));
        while !matches!(dirty.step().unwrap(), Step::Buffered(_)) {}
        assert!(dirty.buffered() > 0);
        drop(dirty);
        drop((read, sink, end));
        // Its bytes may all have been taken before the reader went away.
        drop(feeder.join().unwrap());
        let (write, read) = Way::Tcp.connect().unwrap();
        let feeder = feed(write, pattern(0..200_000));
        let (sink, end) = Way::Tcp.connect().unwrap();
        let got = collect(end);
        transfer(Source::stream(&read), Sink::stream(&sink)).unwrap();
        drop(sink);
        feeder.join().unwrap().unwrap();
        assert_eq!(difference(&got.join().unwrap().unwrap(), 0, 200_000), None);
    }
}

#[test]
fn zero_copy_sends_are_accounted_and_give_up_where_the_kernel_copies() {
    let (sink, end) = Way::Tcp.connect().unwrap();
    let got = collect(end);
    let payload = Bytes::from(pattern(0..40 << 20));
    let mut transfer = Transfer::new(Source::bytes(payload), Sink::stream(&sink))
        .policy(Policy::Prefer(Method::ZeroCopySend));
    transfer.run().unwrap();
    let ledger = transfer.ledger();
    // Loopback copies every time: eight completions of that kind, and it is not asked again.
    assert_eq!(ledger.fallbacks().len(), 1, "{ledger}");
    assert_eq!(ledger.fallbacks()[0].from, Method::ZeroCopySend);
    assert!(ledger.zero_copy_done() > 0, "{ledger}");
    assert_eq!(ledger.zero_copy_done(), ledger.zero_copy_copied(), "{ledger}");
    assert!(ledger.zero_copy_done() <= ledger.of(Method::ZeroCopySend).bytes);
    drop(transfer);
    // What was learnt of the socket holds for the next transfer on it.
    let tail = Bytes::from(pattern(0..100_000));
    let mut next = Transfer::new(Source::bytes(tail), Sink::stream(&sink))
        .policy(Policy::Prefer(Method::ZeroCopySend));
    next.run().unwrap();
    assert_eq!(next.ledger().of(Method::ZeroCopySend).bytes, 0, "{}", next.ledger());
    drop(next);
    drop(sink);
    let got = got.join().unwrap().unwrap();
    assert_eq!(difference(&got[..40 << 20], 0, 40 << 20), None);
    assert_eq!(difference(&got[40 << 20..], 0, 100_000), None);
}

#[test]
#[cfg(feature = "uring")]
fn a_ring_gives_up_lending_too_where_the_kernel_copies() {
    require!(Capability::Uring);
    require!(kernel::at_least(6, 2));
    let (sink, end) = Way::Tcp.connect_small().unwrap();
    let got = collect(end);
    let payload = Bytes::from(pattern(0..40 << 20));
    let mut transfer = Transfer::new(Source::bytes(payload), Sink::stream(&sink))
        .policy(Policy::Prefer(Method::UringSendZc));
    transfer.run().unwrap();
    let ledger = transfer.ledger();
    assert_eq!(ledger.fallbacks()[0].from, Method::UringSendZc, "{ledger}");
    assert!(ledger.zero_copy_done() > 0, "{ledger}");
    assert_eq!(ledger.zero_copy_done(), ledger.zero_copy_copied(), "{ledger}");
    drop(transfer);
    drop(sink);
    assert_eq!(difference(&got.join().unwrap().unwrap(), 0, 40 << 20), None);
}

fn memory_outlives_its_transfer(method: Method) {
    let (sink, end) = Way::Tcp.connect().unwrap();
    set_nonblocking(&sink, true).unwrap();
    let memory = Bytes::from(pattern(0..16 << 20));
    let alone = memory.clone();
    let mut transfer =
        Transfer::new(Source::bytes(memory), Sink::stream(&sink)).policy(Policy::Only(method));
    fill(&mut transfer);
    let accepted = transfer.moved();
    drop(transfer);
    drop(sink);
    // No byte has been read, so the window is full and the rest of it unsent: still held.
    assert!(!alone.is_unique());
    let got = collect(end).join().unwrap().unwrap();
    assert_eq!(difference(&got, 0, accepted), None);
    let freed = || alone.is_unique().then_some(());
    underpass_testkit::wait::until(std::time::Duration::from_secs(20), freed)
        .expect("the memory is let go when the peer has it, and the socket is closed then");
}

#[test]
fn memory_the_kernel_still_reads_outlives_its_transfer() {
    memory_outlives_its_transfer(Method::ZeroCopySend);
}

#[test]
#[cfg(feature = "uring")]
fn memory_a_ring_still_sends_outlives_its_transfer() {
    require!(Capability::Uring);
    require!(kernel::at_least(6, 2));
    memory_outlives_its_transfer(Method::UringSendZc);
}
