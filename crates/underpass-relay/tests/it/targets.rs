//! Several targets: who gets a connection, and what happens to those that do not answer.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::fixture::{Running, accept, listener, nobody, options};

#[test]
fn each_connection_goes_where_the_fewest_are() {
    let (targets, endpoints): (Vec<TcpListener>, Vec<_>) = (0..3).map(|_| listener()).unzip();
    let relay = Running::to(&endpoints);
    let clients: Vec<_> = (0..9).map(|_| relay.connect()).collect();
    for target in &targets {
        for _ in 0..3 {
            accept(target);
        }
        target.set_nonblocking(true).unwrap();
        target.accept().unwrap_err();
    }
    drop(clients);
}

#[test]
fn one_that_refuses_is_passed_over_and_counted() {
    let (target, endpoint) = listener();
    let (_port, gone) = nobody();
    let relay = Running::to(&[gone.clone(), endpoint]);
    for _ in 0..6 {
        let (mut client, mut server) = (relay.connect(), accept(&target));
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    let refused = format!("target_failures_total{{target=\"{gone}\",reason=\"refused\"}}");
    assert!(relay.metric(&refused) >= 1, "{}", relay.metrics());
    assert_eq!(relay.metric("ended_total{end=\"no-target\"}"), 0);
}

#[test]
fn one_that_fails_its_checks_gets_nothing_until_it_is_back() {
    let (target, endpoint) = listener();
    let (port, gone) = nobody();
    let mut wanted = options(&[gone.clone(), endpoint]);
    wanted.check_every = Some(Duration::from_millis(10));
    let relay = Running::start(wanted);
    let (up, refused) = (
        format!("target_up{{target=\"{gone}\"}}"),
        format!("target_failures_total{{target=\"{gone}\",reason=\"refused\"}}"),
    );
    relay.until(&up, 0);
    let before = relay.metric(&refused);
    for _ in 0..4 {
        let mut client = relay.connect();
        client.write_all(b"x").unwrap();
        // Checks connect too, and say nothing.
        while accept(&target).read(&mut [0]).unwrap() == 0 {}
    }
    assert_eq!(relay.metric(&refused), before, "a target that is down was tried");
    rustix::net::listen(&port, 8).unwrap();
    relay.until(&up, 1);
}

#[test]
fn a_file_of_targets_has_one_a_line_and_comments() {
    let (target, endpoint) = listener();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("targets");
    fs::write(&path, format!("# ours\n\n  {endpoint}  # the first\n")).unwrap();
    let mut wanted = options(&[]);
    wanted.targets = underpass_relay::Targets::File(path.clone());
    let relay = Running::start(wanted);
    let (mut client, mut server) = (relay.connect(), accept(&target));
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    for (text, part) in [
        ("", "no target to relay to"),
        ("127.0.0.1:80\nnonsense\n", "targets, line 2"),
        ("127.0.0.1:80 127.0.0.1:81\n", "targets, line 1"),
    ] {
        fs::write(&path, text).unwrap();
        let mut wanted = options(&[]);
        wanted.targets = underpass_relay::Targets::File(path.clone());
        let error = underpass_relay::Relay::bind(wanted).unwrap_err();
        assert!(error.to_string().ends_with(part), "{error}");
    }
}
