//! A watch that looks only part of the time.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{fstat, ftruncate, sendfile};
use rustix::net::RecvFlags;
use rustix::process::{Pid, Signal, kill_process};
use underpass_measure::{Probe, Sight, Watch};
use underpass_testkit::payload::pattern;
use underpass_testkit::skip::Capability::{Program, RealProcessor, Root};
use underpass_testkit::{require, wait};

use crate::explain::site::{Site, curl};
use crate::hidden::tried;

const MIB: u64 = 1 << 20;

/// Sequence numbers are compared by the sign of their difference: this is past half of them.
const FAR: u64 = 2_200 * MIB;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn what_leaves_during_a_rest_is_neither_counted_nor_taken_for_sent_again() {
    require!(Root);
    require!(RealProcessor);
    let [bytes, again] = tried(send_around_a_rest, |seen| seen[0] == 4 * MIB);
    assert_eq!(bytes, 4 * MIB);
    // Loss probes repeat a packet where the machine is busy.
    assert!(again < MIB, "{again} bytes sent again");
}

/// Sends 1 MiB, rests while more is sent, and looks again at 3 MiB; what was seen to leave, and to
/// leave again.
fn send_around_a_rest() -> [u64; 2] {
    let mut probe = Probe::load(Sight::Everything).unwrap();
    probe.follow(std::process::id()).unwrap();
    let file = tempfile::tempfile().unwrap();
    ftruncate(&file, 16 * MIB).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let source = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (sink, _) = listener.accept().unwrap();
    let got = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = vec![0; 1 << 20];
            while let Ok((_, taken @ 1..)) =
                rustix::net::recv(&sink, buffer.as_mut_slice(), RecvFlags::TRUNC)
            {
                got.fetch_add(taken as u64, Ordering::Relaxed);
            }
        });
        let mut sent = 0;
        let mut send = |len: u64| {
            let mut left = usize::try_from(len).unwrap();
            while left > 0 {
                left -= sendfile(source.as_fd(), file.as_fd(), Some(&mut 0), left).unwrap();
            }
            sent += len;
            let is_there = || (got.load(Ordering::Relaxed) == sent).then_some(());
            wait::until(PATIENCE, is_there).expect("everything arrives");
        };
        send(MIB);
        probe.rest().unwrap();
        send(FAR);
        probe.look().unwrap();
        send(3 * MIB);
        source.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let seen = probe.evidence().unwrap();
    let inode = fstat(&source).unwrap().st_ino;
    let socket = seen.sockets.iter().find(|socket| socket.inode == inode).unwrap();
    assert!(seen.has_gaps);
    [socket.sent.iter().map(|pages| pages.bytes).sum(), socket.retransmitted_bytes]
}

#[test]
fn a_limited_watch_of_a_busy_server_looks_part_of_the_time_and_keeps_the_shares() {
    require!(Root);
    require!(Program("nginx"));
    require!(Program("curl"));
    const LEN: u64 = 300_001;
    let content = pattern(0..LEN);
    let site = Site::new(&[("a.bin", &content)]);
    let www = site.path("www").display().to_string();
    let plain = format!("location /plain/ {{ alias {www}/; sendfile off; }}");
    let nginx = site.nginx("", &format!("sendfile on; {plain}"));
    let urls = ["a.bin", "plain/a.bin"].map(|path| format!("http://{}/{path}", nginx.address()));
    let in_turns: Vec<&str> = urls.iter().cycle().take(199).map(String::as_str).collect();
    let is_over = AtomicBool::new(false);
    let summary = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let answers = curl("http", nginx.address(), "plain/a.bin", &in_turns);
                assert_eq!(answers.len() as u64, 200 * LEN);
            }
        });
        let mut watch = Watch::start(nginx.id()).unwrap();
        watch.limit(0.005, 15).unwrap();
        let enough = || {
            assert!(watch.turn().unwrap().is_some());
            let summary = watch.summary().unwrap();
            let bytes = summary.report.as_ref().unwrap().total.file_bytes();
            (summary.looked_percent.is_some() && bytes > 400 * LEN).then_some(summary)
        };
        let summary = wait::until(PATIENCE, enough);
        is_over.store(true, Ordering::Relaxed);
        summary.expect("the watch rests and still sees enough")
    });
    let looked = summary.looked_percent.unwrap();
    assert!((0.1..90.0).contains(&looked), "looked at {looked} %");
    let report = summary.report.as_ref().unwrap();
    let share = report.by_reference_percent.value().unwrap();
    assert!((35.0..65.0).contains(&share), "{share} % of what is one half: {report:#?}");
    let text = summary.text();
    assert!(text.contains("so that it takes at most 0.5 % of a processor's"), "{text}");
}

#[test]
fn a_child_that_was_born_during_a_rest_is_followed() {
    require!(Root);
    require!(RealProcessor);
    let mut shell = Command::new("sh")
        .args(["-c", "read start; sleep 1000 & echo $!; wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut watch = Watch::start(shell.id()).unwrap();
    watch.limit(0.0, 15).unwrap();
    let rests = || watch.turn().map(|_| watch.is_partial().then_some(())).unwrap();
    wait::until(PATIENCE, rests).expect("nothing is cheap enough");
    shell.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut born = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut born).unwrap();
    let born: u32 = born.trim().parse().unwrap();
    let followed = watch.summary().unwrap().followed;
    let child = Pid::from_raw(born.try_into().unwrap()).unwrap();
    kill_process(child, Signal::KILL).unwrap();
    shell.wait().unwrap();
    assert!(followed.iter().any(|(process, _)| *process == born), "{born} in {followed:?}");
}
