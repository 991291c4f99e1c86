//! Programs that send in a known way: the reasons that servers at hand do not show.

use std::path::Path;
use std::time::Duration;

use underpass_measure::{Figure, Reason, Report, Watch};
use underpass_testkit::compiled::Program;
use underpass_testkit::network::Link;
use underpass_testkit::senders::{Load, Receiving, Sending};
use underpass_testkit::skip::Capability::{self, KernelTls, Root};
use underpass_testkit::{require, wait};

use crate::explain::made::totals;
use crate::explain::site::{only_finding, reasons, report, rows};
use crate::hidden::tried;
use crate::matrix_peers::{Pair, patterned, program};
use crate::matrix_tls::RECORD_ADDS;

const LEN: u64 = 8_388_611;

/// What is seen of a sender from before it connects.
fn sent(program: &Program, link: &Link, way: Sending, load: &Load) -> (Report, String) {
    let once = || {
        let mut pair = Pair::start(program, link);
        let mut watch = Watch::start(pair.sender.id()).unwrap();
        pair.connect(link);
        sent_by(&mut pair, &mut watch, way, load)
    };
    tried(once, |(report, _)| totals(report).iter().sum::<u64>() == load.total_bytes())
}

/// What is seen of a connected sender, looked at once while it maps the file if it does.
pub(crate) fn sent_by(
    pair: &mut Pair,
    watch: &mut Watch,
    way: Sending,
    load: &Load,
) -> (Report, String) {
    let file = patterned(LEN);
    // Nothing is received yet, so it waits in the middle of the file.
    pair.sender.begin_sending(way, file.path(), load).unwrap();
    // The last that each does before it sends.
    let is_mapped =
        matches!(way, Sending::MappedWrite | Sending::MappedSplice | Sending::MappedZeroCopy);
    let (process, path) = (pair.sender.id(), file.path().canonicalize().unwrap());
    let is_ready = || if is_mapped { maps(process, &path) } else { has_open(process, &path) };
    wait::until(Duration::from_secs(10), || is_ready().then_some(())).unwrap();
    watch.look().unwrap();
    pair.receiver.begin_receiving(Receiving::Copy, load).unwrap();
    assert_eq!(pair.sender.sent().unwrap().bytes, load.total_bytes());
    assert_eq!(pair.receiver.received().unwrap(), load.total_bytes());
    (report(watch), file.path().display().to_string())
}

fn maps(process: u32, file: &Path) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    maps.lines().any(|line| line.ends_with(file.to_str().unwrap()))
}

fn has_open(process: u32, file: &Path) -> bool {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    open.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|path| path == file))
}

#[test]
fn by_reference_are_sendfile_splice_and_lent_mappings_and_nothing_else() {
    require!(Root);
    let (program, link) = (require!(program()), require!(Link::veth()));
    for way in Sending::ALL {
        let (report, path) = sent(&program, &link, way, &Load::whole(LEN));
        let by_reference = match way {
            Sending::ReadWrite | Sending::MappedWrite | Sending::ZeroCopy => 0,
            Sending::Sendfile
            | Sending::Splice
            | Sending::MappedSplice
            | Sending::MappedZeroCopy => LEN,
        };
        assert_eq!(totals(&report), [by_reference, LEN - by_reference, 0, 0], "{way}");
        assert_eq!(rows(&report.files), [(path.as_str(), by_reference, LEN - by_reference)]);
    }
}

#[test]
fn r1_and_r2_tell_a_buffer_from_a_mapping() {
    require!(Root);
    let (program, link) = (require!(program()), Link::loopback());
    for (way, reason) in [(Sending::ReadWrite, Reason::R1), (Sending::MappedWrite, Reason::R2)] {
        let (report, path) = sent(&program, &link, way, &Load::whole(LEN));
        assert_eq!(reasons(&report), [(reason, LEN)], "{way}");
        assert!(report.findings[0].evidence.contains(&path), "{:?}", report.findings);
    }
}

#[test]
fn r3_of_kernel_tls_is_one_pass_of_the_cpu_and_no_reference() {
    require!(Root);
    require!(KernelTls);
    let (program, link) = (require!(program()), Link::loopback());
    let mut pair = Pair::start(&program, &link);
    let mut watch = Watch::start(pair.sender.id()).unwrap();
    pair.connect(&link);
    pair.encrypt();
    let (report, path) = sent_by(&mut pair, &mut watch, Sending::Sendfile, &Load::whole(LEN));
    let [by_reference, copied, unknown, added] = totals(&report);
    assert_eq!((by_reference, copied, unknown), (0, LEN, 0));
    assert!(added > 0 && added.is_multiple_of(RECORD_ADDS), "{added}");
    assert_eq!(rows(&report.files), [(path.as_str(), 0, LEN)]);
    let (reason, bytes, evidence, _) = only_finding(&report);
    assert_eq!((reason, bytes), (Reason::R3, LEN));
    for part in ["sendfile calls passed 8,388,611 bytes", "upper layer tls", "one pass of the CPU"]
    {
        assert!(evidence.contains(part), "{part} in {evidence}");
    }
}

#[test]
fn r5_names_the_interface_without_scatter_gather() {
    require!(Root);
    let (program, link) = (require!(program()), require!(Link::veth_without_scatter_gather()));
    let load = Load { header_bytes: 200, times: 3, ..Load::whole(1_000_003) };
    let (report, _) = sent(&program, &link, Sending::Sendfile, &load);
    assert_eq!(totals(&report), [0, 3_000_009, 0, 600]);
    assert_eq!(reasons(&report), [(Reason::R5, 3_000_009)]);
    let finding = &report.findings[0];
    assert!(finding.evidence.contains("whose tx-scatter-gather is off"), "{finding:?}");
    assert_eq!(finding.fix, format!("ethtool -K {} sg on", link.near().interface()));
}

#[test]
fn r5_is_told_of_scatter_gather_alone_whatever_else_scatters() {
    require!(Root);
    require!(Capability::Program("ethtool"));
    let (program, link) = (require!(program()), require!(Link::veth()));
    let mut ethtool = link.near().command("ethtool");
    ethtool.args(["-K", link.near().interface(), "tx-scatter-gather", "off"]);
    assert!(ethtool.status().unwrap().success());
    let (report, _) = sent(&program, &link, Sending::Sendfile, &Load::whole(LEN));
    assert_eq!(totals(&report), [0, LEN, 0, 0]);
    let (reason, bytes, evidence, _) = only_finding(&report);
    assert_eq!((reason, bytes), (Reason::R5, LEN));
    assert!(evidence.contains("whose tx-scatter-gather is off"), "{evidence}");
}

#[test]
fn r6_and_r7_are_memory_lent_over_loopback_and_in_small_pieces() {
    require!(Root);
    let (program, link) = (require!(program()), Link::loopback());
    let load = Load { call_bytes: 4_096, ..Load::whole(1_000_003) };
    let (report, _) = sent(&program, &link, Sending::MappedZeroCopy, &load);
    assert_eq!(totals(&report), [1_000_003, 0, 0, 0]);
    assert_eq!(reasons(&report), [(Reason::R6, 1_000_003), (Reason::R7, 1_000_003)]);
    assert!(report.findings[1].evidence.contains("sendto calls with MSG_ZEROCOPY"));
}

#[test]
fn r11_is_told_of_a_link_that_loses_packets() {
    require!(Root);
    let (program, link) = (require!(program()), require!(Link::veth_with_loss()));
    let (report, _) = sent(&program, &link, Sending::Sendfile, &Load::whole(LEN));
    assert_eq!(totals(&report), [LEN, 0, 0, 0]);
    let again = report.findings[0].bytes;
    assert!(again > LEN / 100, "{again}");
    let found: Vec<Reason> = report.findings.iter().map(|finding| finding.reason).collect();
    assert_eq!(found, [Reason::R11]);
    assert_eq!(report.retransmitted, Figure::count(again));
}
