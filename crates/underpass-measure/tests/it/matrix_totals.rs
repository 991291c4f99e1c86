//! What left in a rest is counted by whose it is and where it was, each byte once.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use underpass_measure::{Probe, Sight};
use underpass_testkit::network::Link;
use underpass_testkit::require;
use underpass_testkit::senders::{Load, Receiving, Sending};
use underpass_testkit::skip::Capability::Root;
use underpass_testkit::wait;

use crate::hidden::tried;
use crate::matrix::socket_of;
use crate::matrix_peers::{Pair, patterned, program};

const LEN: u64 = 1_000_003;

fn left(way: Sending, bytes: u64) -> [u64; 2] {
    if way == Sending::Sendfile { [bytes, 0] } else { [0, bytes] }
}

#[test]
fn what_left_in_a_rest_is_counted_and_in_no_look() {
    require!(Root);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(LEN));
    for way in [Sending::ReadWrite, Sending::Sendfile] {
        let observe = || {
            let mut pair = Pair::start(&program, &link);
            let mut probe = Probe::load(Sight::Sending).unwrap();
            probe.follow(pair.sender.id()).unwrap();
            let (socket, _) = pair.connect(&link);
            let mut send = |times| {
                let load = Load { times, ..Load::whole(LEN) };
                pair.transfer(way, file.path(), &load, Receiving::Truncate);
            };
            send(1);
            probe.rest().unwrap();
            send(2);
            probe.look().unwrap();
            send(3);
            (socket, probe.evidence().unwrap(), probe.left().unwrap())
        };
        let (socket, evidence, all) = tried(observe, |(_, _, all)| *all == left(way, 6 * LEN));
        assert_eq!(all, left(way, 6 * LEN), "{way}");
        let seen = &socket_of(&evidence, socket).sent;
        assert_eq!(seen.iter().map(|pages| pages.bytes).sum::<u64>(), 4 * LEN, "{way}");
    }
}

/// How a connection ends that no look has met.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Open,
    Closed,
    ClosedByPeerFirst,
    Killed,
}

#[test]
fn whose_a_socket_is_that_no_look_met_is_known_as_it_is_closed_or_when_it_is_asked() {
    require!(Root);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(LEN));
    for end in [End::Open, End::Closed, End::ClosedByPeerFirst, End::Killed] {
        let observe = || {
            let (mut pair, mut stranger) =
                (Pair::start(&program, &link), Pair::start(&program, &link));
            let mut probe = Probe::load(Sight::Sending).unwrap();
            probe.follow(pair.sender.id()).unwrap();
            probe.rest().unwrap();
            let pid = Pid::from_raw(pair.sender.id().cast_signed()).unwrap();
            for (pair, times) in [(&mut stranger, 1), (&mut pair, 2)] {
                pair.connect(&link);
                let load = Load { times, ..Load::whole(LEN) };
                pair.transfer(Sending::Sendfile, file.path(), &load, Receiving::Truncate);
            }
            stranger.close();
            match end {
                End::Open => assert_eq!(probe.left().unwrap(), [0, 0]),
                End::Closed => pair.close(),
                End::ClosedByPeerFirst => {
                    pair.receiver.close().unwrap();
                    pair.sender.close().unwrap();
                }
                End::Killed => kill_process(pid, Signal::KILL).unwrap(),
            }
            // A process that was killed is not at its end at once.
            let is_claimed = || (probe.left_by_all().unwrap() != [0, 0]).then_some(());
            wait::until(Duration::from_secs(2), is_claimed).unwrap_or_default();
            probe.left_by_all().unwrap()
        };
        let all = tried(observe, |all| *all == left(Sending::Sendfile, 2 * LEN));
        assert_eq!(all, left(Sending::Sendfile, 2 * LEN), "{end:?}");
    }
}

#[test]
fn a_byte_that_is_sent_again_in_a_rest_is_counted_once_and_a_head_is_of_no_file() {
    let program = require!(program());
    let link = require!(Link::veth_with_loss());
    let file = patterned(LEN);
    let mut pair = Pair::start(&program, &link);
    let mut probe = Probe::load(Sight::Sending).unwrap();
    probe.follow(pair.sender.id()).unwrap();
    pair.connect(&link);
    probe.rest().unwrap();
    let load = Load { times: 8, header_bytes: 200, ..Load::whole(LEN) };
    let sent = pair.transfer(Sending::Sendfile, file.path(), &load, Receiving::Copy);
    assert!(sent.retransmitted_bytes > 0, "nothing was lost");
    pair.close();
    let [of_files, others] = probe.left().unwrap();
    assert_eq!(of_files + others, 8 * (LEN + 200));
    // The ends of a packet tell of it: what of a head is within, or not sent again, counts as what
    // is around it.
    assert!(others.abs_diff(8 * 200) <= 8 * 200, "{of_files} {others}");
}
