//! What is left where the kernel, or a profile, gives no pipes or no splice: copies, all whole.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::skip::Capability::Strace as CanTrace;
use underpass_testkit::strace::{self, Strace};
use underpass_testkit::{require, test_name};

use crate::echo;
use crate::fixture::{Running, accept, listener};

const LEN: u64 = 16_777_217;

/// Sends bytes through a relay; gives how many of them went by splice.
fn spliced() -> u64 {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let mut client = relay.connect();
    let mut server = accept(&target);
    let sending = thread::spawn(move || {
        client.write_all(&pattern(0..LEN)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client
    });
    let mut got = Vec::new();
    server.read_to_end(&mut got).unwrap();
    assert_eq!(difference(&got, 0, LEN), None);
    drop((sending.join().unwrap(), server));
    relay.until("ended_total{end=\"closed\"}", 1);
    let series = |method| format!("relayed_bytes_total{{direction=\"up\",method=\"{method}\"}}");
    let (splice, copy) = (relay.metric(&series("splice")), relay.metric(&series("copy")));
    assert_eq!(splice + copy, LEN);
    splice
}

/// Runs a test again under strace, with a fault.
fn under_fault(name: &str, calls: &str, fault: &str) {
    let traced = Strace::of_test(name).unwrap().only(calls).inject(fault).run().unwrap();
    traced.assert_success();
    assert!(traced.calls().iter().any(|call| call.is_injected), "no {fault} was met");
}

#[test]
fn without_splice_everything_is_copied() {
    if strace::is_inside() {
        assert_eq!(spliced(), 0);
        return;
    }
    require!(CanTrace);
    under_fault(test_name!(), "splice", "splice:error=EPERM");
}

#[test]
fn without_pipes_everything_is_copied() {
    if strace::is_inside() {
        assert_eq!(spliced(), 0);
        return;
    }
    require!(CanTrace);
    under_fault(test_name!(), "pipe2", "pipe2:error=EMFILE");
}

/// Sends bytes to an echo server that keeps them.
fn kept_and_echoed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kept");
    let endpoint = echo::start(echo::options(Some(file.clone())));
    let got = echo::round_trip(&endpoint, pattern(0..LEN));
    assert_eq!(difference(&got, 0, LEN), None);
    assert_eq!(difference(&fs::read(&file).unwrap(), 0, LEN), None);
}

#[test]
fn an_echo_server_without_splice_keeps_by_copying() {
    if strace::is_inside() {
        kept_and_echoed();
        return;
    }
    require!(CanTrace);
    under_fault(test_name!(), "splice", "splice:error=EPERM");
}

#[test]
fn an_echo_server_without_pipes_keeps_by_copying() {
    if strace::is_inside() {
        kept_and_echoed();
        return;
    }
    require!(CanTrace);
    under_fault(test_name!(), "pipe2", "pipe2:error=ENFILE");
}

/// A socket that a pipe fills and does not drain into: every other call is a drain.
#[test]
fn bytes_that_are_in_a_pipe_and_cannot_leave_it_by_splice_are_copied_out() {
    if strace::is_inside() {
        spliced();
        return;
    }
    require!(CanTrace);
    under_fault(test_name!(), "splice", "splice:error=EINVAL:when=2+2");
}
