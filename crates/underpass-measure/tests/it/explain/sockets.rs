//! Small Python programs: processes that share a socket, and sources of other kinds.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use underpass_measure::{Reason, Report, Watch};
use underpass_testkit::payload::pattern;
use underpass_testkit::require;
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::Capability::{Program, Root};

use crate::explain::made::totals;
use crate::explain::site::{Site, reasons, report, rows};
use crate::hidden::tried;

const LEN: u64 = 1_000_003;

/// Accepts twice: the first time only to be found ready.
const ACCEPT: &str = "
import mmap, os, socket, sys
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
listener.accept()[0].close()
peer = listener.accept()[0]
a = os.open('www/a.bin', os.O_RDONLY)
def sendfile(file, count, at=0):
    while count:
        sent = os.sendfile(peer.fileno(), file, at, count)
        at, count = at + sent, count - sent
";

/// Runs a program that sends `len` bytes to the one who connects, and watches it meanwhile.
fn watched(program: &str, len: u64) -> (Report, Site, u32) {
    let is_whole = |(report, ..): &(Report, Site, u32)| totals(report).iter().sum::<u64>() == len;
    tried(|| watched_once(program, len), is_whole)
}

fn watched_once(program: &str, len: u64) -> (Report, Site, u32) {
    let content = pattern(0..LEN);
    let site = Site::new(&[("a.bin", &content), ("b.bin", &content)]);
    let address = free_address().unwrap();
    assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
    let mut command = Command::new("python3");
    command.arg("-c").arg(format!("{ACCEPT}{program}")).arg(address.port().to_string());
    let python = Server::start(site.started_here(&mut command), address).unwrap();
    let mut watch = Watch::start(python.id()).unwrap();
    let mut peer = TcpStream::connect(address).unwrap();
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(got.len() as u64, len);
    (report(&mut watch), site, python.id())
}

#[test]
fn a_parent_and_its_child_on_one_socket_each_have_their_own_bytes() {
    require!(Root);
    require!(Program("python3"));
    let program = "
child = os.fork()
if child == 0:
    data = open('www/b.bin', 'rb').read()
    peer.sendall(data)
    os._exit(0)
os.waitpid(child, 0)
sendfile(a, os.fstat(a).st_size)
";
    let (report, site, process) = watched(program, 2 * LEN);
    assert_eq!(totals(&report), [LEN, LEN, 0, 0]);
    let files = [(site.name("a.bin"), LEN, 0), (site.name("b.bin"), 0, LEN)];
    assert_eq!(rows(&report.files), files.each_ref().map(|(name, a, b)| (name.as_str(), *a, *b)));
    for share in &report.processes {
        let is_parent = share.name.ends_with(&format!(" {process}"));
        let bytes = (share.by_reference_bytes, share.copied_bytes);
        assert_eq!(bytes, if is_parent { (LEN, 0) } else { (0, LEN) }, "{}", share.name);
    }
    assert_eq!(report.processes.len(), 2);
    assert_eq!(reasons(&report), [(Reason::R1, LEN)]);
}

#[test]
fn r8_is_told_of_a_descriptor_that_bypasses_the_page_cache() {
    require!(Root);
    require!(Program("python3"));
    const WHOLE_BLOCKS: u64 = 999_424;
    let program = "
sendfile(os.open('www/a.bin', os.O_RDONLY | os.O_DIRECT), 999424)
";
    let (report, _, _) = watched(program, WHOLE_BLOCKS);
    assert_eq!(totals(&report), [WHOLE_BLOCKS, 0, 0, 0]);
    assert_eq!(reasons(&report), [(Reason::R8, WHOLE_BLOCKS)]);
    assert!(report.findings[0].evidence.contains("O_DIRECT"));
}

#[test]
fn r9_is_told_of_a_copy_between_files_and_is_no_part_of_the_share() {
    require!(Root);
    require!(Program("python3"));
    let program = "
copy = os.open('copy.bin', os.O_WRONLY | os.O_CREAT)
os.sendfile(copy, a, 0, os.fstat(a).st_size)
sendfile(a, os.fstat(a).st_size)
";
    let (report, _, _) = watched(program, LEN);
    assert_eq!(totals(&report), [LEN, 0, 0, 0]);
    assert_eq!(reasons(&report), [(Reason::R9, LEN)]);
}

#[test]
fn what_a_program_makes_up_is_no_files_and_is_said_not_to_be_known() {
    require!(Root);
    require!(Program("python3"));
    let (report, _, _) = watched("peer.sendall(bytes(300000))\n", 300_000);
    assert_eq!(totals(&report), [0, 0, 0, 300_000]);
    assert_eq!(reasons(&report), [(Reason::R0, 300_000)]);
    assert!(report.check(1.0).unwrap_err().to_string().starts_with("no file bytes were seen"));
}
