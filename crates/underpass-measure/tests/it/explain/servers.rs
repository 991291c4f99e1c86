//! Real servers, asked by curl: each explained to the byte, with its reason.

use std::time::Duration;

use underpass_measure::{Reason, Report, Watch};
use underpass_testkit::payload::pattern;
use underpass_testkit::skip::Capability::{Program, Root};
use underpass_testkit::{require, wait};

use crate::explain::made::totals;
use crate::explain::site::{Site, certificate, curl, only_finding, report, rows, watched};
use crate::hidden::tried;

/// Neither a multiple of a page nor of a call; larger than what a socket buffers.
const LEN: u64 = 8_388_611;

#[test]
fn nginx_with_sendfile_lends_every_byte_of_both_files() {
    require!(Root);
    require!(Program("nginx"));
    require!(Program("curl"));
    let (first, second) = (pattern(0..LEN), pattern(0..LEN / 2));
    let site = Site::new(&[("a.bin", &first), ("b.bin", &second)]);
    let nginx = site.nginx("", "sendfile on;");
    let report = watched(nginx.id(), LEN + LEN / 2, || {
        assert!(curl("http", nginx.address(), "a.bin", &[]) == first);
        assert!(curl("http", nginx.address(), "b.bin", &[]) == second);
    });
    let files = [(site.name("a.bin"), LEN, 0), (site.name("b.bin"), LEN / 2, 0)];
    assert_eq!(rows(&report.files), files.each_ref().map(|(name, a, b)| (name.as_str(), *a, *b)));
    assert_eq!(rows(&report.peers), [("127.0.0.1", LEN + LEN / 2, 0)]);
    assert_eq!(report.peers[0].connections, Some(2));
    let [by_reference, copied, unknown, other] = totals(&report);
    assert_eq!((by_reference, copied, unknown), (LEN + LEN / 2, 0, 0));
    assert!((300..1_000).contains(&other), "two heads of responses are not {other} bytes");
    assert_eq!(report.check(100.0), Ok(()));
}

#[test]
fn nginx_without_sendfile_reads_and_writes_and_is_told_so() {
    require!(Root);
    require!(Program("nginx"));
    require!(Program("curl"));
    let content = pattern(0..LEN);
    let site = Site::new(&[("a.bin", &content)]);
    let nginx = site.nginx("", "sendfile off;");
    let report = watched(nginx.id(), LEN, || {
        assert!(curl("http", nginx.address(), "a.bin", &[]) == content);
    });
    assert_eq!(totals(&report)[..3], [0, LEN, 0]);
    assert_eq!(rows(&report.files), [(site.name("a.bin").as_str(), 0, LEN)]);
    let (reason, bytes, evidence, fix) = only_finding(&report);
    assert_eq!((reason, bytes), (Reason::R1, LEN));
    assert!(evidence.contains("pread64 calls took 8,388,611 bytes of"), "{evidence}");
    assert!(evidence.contains("writev"), "{evidence}");
    assert!(fix.starts_with("sendfile on;"), "{fix}");
    assert!(report.check(1.0).is_err());
}

#[test]
fn nginx_with_gzip_sends_less_than_it_reads_and_is_told_so() {
    require!(Root);
    require!(Program("nginx"));
    require!(Program("curl"));
    let content = pattern(0..LEN);
    let site = Site::new(&[("a.html", &content)]);
    let nginx = site.nginx("", "sendfile on; gzip on; gzip_comp_level 1;");
    let report = watched(nginx.id(), 0, || {
        assert!(curl("http", nginx.address(), "a.html", &["--compressed"]) == content);
    });
    let (reason, bytes, evidence, fix) = only_finding(&report);
    assert_eq!(reason, Reason::R4);
    let [by_reference, copied, unknown, _] = totals(&report);
    assert_eq!((by_reference, copied, unknown), (0, bytes, 0));
    assert!((1..LEN / 10).contains(&bytes), "{LEN} bytes with a period of 251 became {bytes}");
    assert!(evidence.contains("8,388,611 bytes were read of"), "{evidence}");
    assert!(fix.starts_with("gzip_static on;"), "{fix}");
}

#[test]
fn nginx_with_tls_encrypts_in_user_space_and_is_told_so() {
    require!(Root);
    require!(Program("nginx"));
    require!(Program("curl"));
    require!(Program("openssl"));
    let content = pattern(0..LEN);
    let site = Site::new(&[("a.bin", &content)]);
    certificate(&site.path(""));
    let (key, certificate) = (site.path("key.pem"), site.path("cert.pem"));
    let lines = format!(
        "sendfile on; ssl_certificate {}; ssl_certificate_key {};",
        certificate.display(),
        key.display()
    );
    let nginx = site.nginx("ssl", &lines);
    let report = watched(nginx.id(), LEN, || {
        assert!(curl("https", nginx.address(), "a.bin", &[]) == content);
    });
    assert_eq!(totals(&report)[..3], [0, LEN, 0]);
    let (reason, bytes, evidence, fix) = only_finding(&report);
    assert_eq!((reason, bytes), (Reason::R3, LEN));
    for part in ["TLS records", "no upper layer tls", "libssl.so"] {
        assert!(evidence.contains(part), "{part} in {evidence}");
    }
    assert!(fix.contains("ssl_conf_command Options KTLS"), "{fix}");
}

#[test]
fn pythons_server_reads_and_sends_and_is_told_so() {
    require!(Root);
    require!(Program("python3"));
    require!(Program("curl"));
    let content = pattern(0..LEN);
    let site = Site::new(&[("a.bin", &content)]);
    let python = site.python();
    let report = watched(python.id(), LEN, || {
        assert!(curl("http", python.address(), "a.bin", &[]) == content);
    });
    assert_eq!(totals(&report)[..3], [0, LEN, 0]);
    assert_eq!(rows(&report.files), [(site.name("a.bin").as_str(), 0, LEN)]);
    let (reason, bytes, evidence, fix) = only_finding(&report);
    assert_eq!((reason, bytes), (Reason::R1, LEN));
    assert!(evidence.contains(" read calls took 8,388,611 bytes of"), "{evidence}");
    assert!(evidence.contains(" sendto calls gave "), "{evidence}");
    assert!(fix.contains("socket.sendfile()"), "{fix}");
}

#[test]
fn workers_that_share_a_port_each_have_their_own_bytes() {
    require!(Root);
    require!(Program("nginx"));
    require!(Program("curl"));
    const SMALL: u64 = 300_007;
    let content = pattern(0..SMALL);
    let site = Site::new(&[("a.bin", &content)]);
    let nginx = site.nginx("reuseport", "sendfile on;");
    let two = || <[u32; 2]>::try_from(children(nginx.id())).ok();
    let [one, other] = wait::until(Duration::from_secs(10), two).unwrap();
    let once = || {
        let watches = [nginx.id(), one, other].map(|process| Watch::start(process).unwrap());
        // The kernel chooses by a hash of the ports: 64 times the same has the chance 2^-63.
        for _ in 0..64 {
            assert!(curl("http", nginx.address(), "a.bin", &[]) == content);
        }
        watches.map(|mut watch| report(&mut watch))
    };
    let is_whole = |reports: &[Report; 3]| {
        let [both, one, other] = reports.each_ref().map(|it| it.total.by_reference_bytes);
        both == 64 * SMALL && one + other == both
    };
    let [both, one, other] = tried(once, is_whole);
    let bytes = [&one, &other].map(|report| report.total.by_reference_bytes);
    assert_eq!(bytes.iter().sum::<u64>(), 64 * SMALL);
    assert!(bytes.iter().all(|bytes| *bytes > 0 && bytes.is_multiple_of(SMALL)), "{bytes:?}");
    assert_eq!(totals(&both)[..3], [64 * SMALL, 0, 0]);
    let mut of_processes: Vec<u64> =
        both.processes.iter().map(|process| process.by_reference_bytes).collect();
    of_processes.sort_unstable();
    let mut bytes = bytes;
    bytes.sort_unstable();
    assert_eq!(of_processes, bytes);
}

/// The children of a process.
fn children(process: u32) -> Vec<u32> {
    let list = format!("/proc/{process}/task/{process}/children");
    let list = std::fs::read_to_string(list).unwrap();
    list.split_whitespace().map(|child| child.parse().unwrap()).collect()
}
