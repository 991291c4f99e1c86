//! Two networks, with interfaces of the same index and the same name.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use underpass_measure::{Reason, Report, Watch};
use underpass_testkit::network::Link;
use underpass_testkit::payload::pattern;
use underpass_testkit::require;
use underpass_testkit::skip::Capability::{Program, Root};

use crate::explain::made::totals;
use crate::explain::site::{Site, reasons};
use crate::hidden::tried;

const LEN: u64 = 1_000_003;

/// For each network and port it is told, has a child that goes there and sends.
const SENDERS: &str = "
import ctypes, os, socket, sys
for line in sys.stdin:
    network, port = line.split()
    if os.fork() == 0:
        assert ctypes.CDLL(None).setns(os.open(network, os.O_RDONLY), 0x40000000) == 0
        peer = socket.create_connection(('192.0.2.2', int(port)))
        file, at = os.open('www/a.bin', os.O_RDONLY), 0
        while at < 1000003:
            at += os.sendfile(peer.fileno(), file, at, 1000003 - at)
        peer.recv(1)
        os._exit(0)
";

/// Says its port, takes all, says so, and stays until its input ends.
const TAKER: &str = "
import socket, sys
listener = socket.create_server(('192.0.2.2', 0))
print(listener.getsockname()[1], flush=True)
peer = listener.accept()[0]
left = 1000003
while left:
    left -= len(peer.recv(left))
print('taken', flush=True)
sys.stdin.read()
";

struct Taker {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Taker {
    fn start(link: &Link) -> Self {
        let mut command = link.far().command("python3");
        command.args(["-c", TAKER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn sent_by_both(links: &[&Link; 2]) -> Report {
    let site = Site::new(&[("a.bin", &pattern(0..LEN))]);
    let mut command = Command::new("python3");
    command.args(["-c", SENDERS]);
    let command = site.started_here(&mut command).stderr(Stdio::inherit());
    let mut senders = command.stdin(Stdio::piped()).spawn().unwrap();
    let orders: ChildStdin = senders.stdin.take().unwrap();
    let mut watch = Watch::start(senders.id()).unwrap();
    let mut takers = links.map(Taker::start);
    for (link, taker) in links.iter().zip(&mut takers) {
        writeln!(&orders, "{} {}", link.near().network(), taker.line()).unwrap();
        assert_eq!(taker.line(), "taken");
        watch.look().unwrap();
    }
    let report = watch.summary().unwrap().report.unwrap();
    drop((orders, takers));
    assert!(senders.wait().unwrap().success());
    report
}

#[test]
fn an_interface_is_not_taken_for_that_of_the_same_index_in_another_network() {
    require!(Root);
    require!(Program("python3"));
    let links = [&require!(Link::veth()), &require!(Link::veth_without_scatter_gather())];
    let indices = links.map(|link| link.near().interface_index().unwrap());
    assert_eq!(indices[0], indices[1]);
    let is_whole = |report: &Report| totals(report).iter().sum::<u64>() >= 2 * LEN;
    let report = tried(|| sent_by_both(&links), is_whole);
    assert_eq!(totals(&report), [LEN, LEN, 0, 0]);
    assert_eq!(reasons(&report), [(Reason::R5, LEN)]);
    let evidence = &report.findings[0].evidence;
    assert!(evidence.contains("by near, whose tx-scatter-gather is off"), "{evidence}");
}
