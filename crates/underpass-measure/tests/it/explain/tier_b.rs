//! Without BPF: the same servers and senders, told apart by their calls and packets.

use underpass_measure::explain::reasons::Reason;
use underpass_measure::explain::report::{Basis, Report, Shortfall};
use underpass_measure::explain::watch::{Tier, Watch};
use underpass_measure::figure::Figure;
use underpass_testkit::network::Link;
use underpass_testkit::payload::pattern;
use underpass_testkit::require;
use underpass_testkit::senders::{Load, Sending};
use underpass_testkit::server::Server;
use underpass_testkit::skip::Capability::{KernelTls, Program, Root, Tracepoints};

use crate::explain::made::totals;
use crate::explain::senders::sent_by;
use crate::explain::site::{Site, curl, only_finding, report};
use crate::matrix_peers::{Pair, program};

/// Neither a multiple of a page nor of a call; larger than what a socket buffers.
const LEN: u64 = 8_388_611;

/// nginx with these lines, watched, and the content of its `a.bin`.
fn watched_nginx(lines: &str) -> (Vec<u8>, Site, Server, Watch) {
    let content = pattern(0..LEN);
    let site = Site::new(&[("a.bin", &content)]);
    let nginx = site.nginx("", lines);
    let watch = watch(nginx.id());
    (content, site, nginx, watch)
}

fn watch(process: u32) -> Watch {
    let watch = Watch::start_within(process, Tier::B).unwrap();
    assert_eq!((watch.tier(), watch.tier_why()), (Tier::B, Some("tier B was asked for")));
    watch
}

/// What no tracepoint tells is not there, and what they tell is derived.
fn assert_likely(report: &Report, by_reference: u64) {
    assert_eq!(report.basis, Basis::Calls);
    assert!(matches!(report.proved, Figure::Unavailable(_)), "{:?}", report.proved);
    assert!(matches!(report.retransmitted, Figure::Unavailable(_)), "{:?}", report.retransmitted);
    let Figure::Derived { value, from } = report.by_reference else {
        panic!("{:?}", report.by_reference)
    };
    assert_eq!(value, by_reference as f64);
    assert!(from.contains("sendfile and splice passed"), "{from}");
}

#[test]
fn nginx_with_sendfile_is_likely_to_have_lent_what_curl_got_and_that_is_no_proof() {
    require!(Root);
    require!(Tracepoints);
    require!(Program("nginx"));
    require!(Program("curl"));
    let (content, _site, nginx, mut watch) = watched_nginx("sendfile on;");
    assert!(curl("http", nginx.address(), "a.bin", &[]) == content);
    assert!(curl("http", nginx.address(), "a.bin", &[]) == content);
    let report = report(&mut watch);
    let [by_reference, copied, unknown, other] = totals(&report);
    assert_eq!((by_reference, copied, unknown), (2 * LEN, 0, 0));
    assert!((300..1_000).contains(&other), "two heads of responses are not {other} bytes");
    assert_likely(&report, 2 * LEN);
    assert_eq!(report.findings, []);
    let shortfall = report.check(95.0).unwrap_err();
    assert!(matches!(shortfall, Shortfall::Likely { .. }), "{shortfall:?}");
    let said = shortfall.to_string();
    assert!(said.starts_with("100 % of 16,777,222 file bytes are likely"), "{said}");
}

#[test]
fn nginx_without_sendfile_has_copied_for_certain() {
    require!(Root);
    require!(Tracepoints);
    require!(Program("nginx"));
    require!(Program("curl"));
    let (content, _site, nginx, mut watch) = watched_nginx("sendfile off;");
    assert!(curl("http", nginx.address(), "a.bin", &[]) == content);
    let report = report(&mut watch);
    assert_eq!(totals(&report)[..3], [0, LEN, 0]);
    assert_likely(&report, 0);
    let (reason, bytes, evidence, fix) = only_finding(&report);
    assert_eq!((reason, bytes), (Reason::R1, LEN));
    assert!(evidence.contains("pread64 calls took 8,388,611 bytes of"), "{evidence}");
    // It sees no head of a record.
    assert!(evidence.contains("whether what was given are TLS records is not seen"), "{evidence}");
    assert!(fix.starts_with("sendfile on;"), "{fix}");
    assert!(matches!(report.check(1.0), Err(Shortfall::Below { .. })));
}

/// What is seen of a sender from before it connects.
fn sent(link: &Link, program: &underpass_testkit::compiled::Program, way: Sending) -> Report {
    let mut pair = Pair::start(program, link);
    let mut watch = watch(pair.sender.id());
    pair.connect(link);
    sent_by(&mut pair, &mut watch, way, &Load::whole(LEN)).0
}

#[test]
fn calls_and_packets_tell_what_was_passed_from_what_was_written() {
    require!(Root);
    require!(Tracepoints);
    let (program, link) = (require!(program()), require!(Link::veth()));
    for way in Sending::ALL {
        let report = sent(&link, &program, way);
        let expected = match way {
            Sending::ReadWrite | Sending::MappedWrite | Sending::ZeroCopy => [0, LEN, 0, 0],
            Sending::Sendfile | Sending::Splice | Sending::MappedZeroCopy => [LEN, 0, 0, 0],
            // What vmsplice put into the pipe is memory, and whose is not seen.
            Sending::MappedSplice => [0, 0, 0, LEN],
        };
        assert_eq!(totals(&report), expected, "{way}");
        assert_eq!(report.lost_events, 0, "{way}");
        assert_likely(&report, expected[0]);
    }
}

#[test]
fn what_the_kernel_encrypts_is_one_pass_of_the_cpu_and_no_reference() {
    require!(Root);
    require!(Tracepoints);
    require!(KernelTls);
    let (program, link) = (require!(program()), Link::loopback());
    let mut pair = Pair::start(&program, &link);
    let mut watch = watch(pair.sender.id());
    pair.connect(&link);
    pair.encrypt();
    let (report, _) = sent_by(&mut pair, &mut watch, Sending::Sendfile, &Load::whole(LEN));
    assert_eq!(totals(&report)[..3], [0, LEN, 0]);
    let (reason, bytes, evidence, _) = only_finding(&report);
    assert_eq!((reason, bytes), (Reason::R3, LEN));
    assert!(evidence.contains("one pass of the CPU"), "{evidence}");
}

#[test]
fn passed_bytes_whose_packets_have_no_pages_were_copied() {
    require!(Root);
    require!(Tracepoints);
    let (program, link) = (require!(program()), require!(Link::veth_without_scatter_gather()));
    for way in [Sending::Sendfile, Sending::Splice] {
        let report = sent(&link, &program, way);
        assert_eq!(totals(&report), [0, LEN, 0, 0], "{way}");
        let (reason, bytes, evidence, fix) = only_finding(&report);
        assert_eq!((reason, bytes), (Reason::R5, LEN), "{way}");
        assert!(evidence.contains("had no pages (data_len 0)"), "{evidence}");
        assert!(evidence.contains("whose tx-scatter-gather is off"), "{evidence}");
        assert_eq!(fix, format!("ethtool -K {} sg on", link.near().interface()));
    }
}
