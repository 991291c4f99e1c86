//! Each reason from the evidence that proves it, and none from evidence that does not.

use crate::evidence::{Calls, Evidence, Lent, Origin, Pages, Process};
use crate::explain::report::Report;
use linux_raw_sys::general as sys;

use crate::explain::made_tests::*;

const MIB: u64 = 1 << 20;

/// What is found, and the text of the first finding: its evidence and its fix.
fn found(report: &Report) -> (Vec<(String, u64)>, String, String) {
    let first = report.findings.first().cloned();
    let (evidence, fix) = first.map(|f| (f.evidence, f.fix)).unwrap_or_default();
    (reasons(report), evidence, fix)
}

fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{part:?} in {text:?}"));
        rest = after;
    }
}

fn tls(mut row: Calls) -> Calls {
    row.head = [0x17, 3, 3, 0x40, 0x11, 1, 2, 3];
    row
}

fn zero_copy(mut row: Calls) -> Calls {
    row.is_zero_copy = true;
    row
}

#[test]
fn r1_names_the_calls_the_file_and_the_programs_own_remedy() {
    let seen = evidence(
        vec![reads(PYTHON, 7, 2 * MIB), writes(PYTHON, 31, 2 * MIB + 200)],
        vec![socket(31, PYTHON, vec![kernel(2 * MIB + 200)])],
    );
    let (reasons, evidence, fix) = found(&judged!(&seen, &context()));
    assert_eq!(reasons, expected(&[("R1", 2 * MIB)]));
    in_order(
        &evidence,
        &[
            "python3.11",
            "32 read calls",
            "2,097,152 bytes of /srv/7",
            "33 write calls",
            "2,097,352",
        ],
    );
    assert!(fix.contains("socket.sendfile()"), "{fix}");
}

#[test]
fn r2_is_told_by_memory_that_is_a_mapping_of_a_file() {
    let seen = evidence(
        vec![mapped_writes(NGINX, 8, 31, 3 * MIB)],
        vec![socket(31, NGINX, vec![kernel(3 * MIB)])],
    );
    let (reasons, evidence, _) = found(&judged!(&seen, &context()));
    assert_eq!(reasons, expected(&[("R2", 3 * MIB)]));
    in_order(&evidence, &["48 write calls", "3,145,728 bytes", "mapping of /srv/8"]);
    let report = judged!(&seen, &context());
    assert_eq!((report.files[0].name.as_str(), report.files[0].copied_bytes), ("/srv/8", 3 * MIB));
}

#[test]
fn r3_is_tls_records_without_an_upper_layer_and_names_the_library() {
    let seen = evidence(
        vec![reads(NGINX, 7, 2 * MIB), tls(writes(NGINX, 31, 2 * MIB + 5_000))],
        vec![socket(31, NGINX, vec![kernel(2 * MIB + 5_000)])],
    );
    let mut context = context();
    context.programs.get_mut(&NGINX).unwrap().tls_library = Some("libssl.so.3".into());
    let (reasons, evidence, fix) = found(&judged!(&seen, &context));
    assert_eq!(reasons, expected(&[("R3", 2 * MIB)]));
    in_order(&evidence, &["TLS records", "no upper layer tls", "libssl.so.3 is loaded"]);
    assert!(fix.contains("ssl_conf_command Options KTLS;"), "{fix}");
}

#[test]
fn r3_of_kernel_tls_is_one_pass_and_no_reference() {
    let lent = Pages { lent: Lent::Shared, ..kernel(2 * MIB + 4_096) };
    let mut over_tls = socket(31, NGINX, vec![lent]);
    over_tls.upper_layer = Some("tls".into());
    let seen = evidence(vec![sendfiles(NGINX, 7, 31, 2 * MIB)], vec![over_tls]);
    let report = judged!(&seen, &context());
    assert_eq!(totals(&report), [0, 2 * MIB, 0, 4_096]);
    let (reasons, evidence, _) = found(&judged!(&seen, &context()));
    assert_eq!(reasons, expected(&[("R3", 2 * MIB)]));
    in_order(&evidence, &["32 sendfile calls", "upper layer tls", "one pass of the CPU"]);
}

#[test]
fn r4_is_more_read_than_given() {
    let seen = evidence(
        vec![reads(NGINX, 7, 4 * MIB), writes(NGINX, 31, MIB)],
        vec![socket(31, NGINX, vec![kernel(MIB)])],
    );
    let (reasons, evidence, fix) = found(&judged!(&seen, &context()));
    assert_eq!(reasons, expected(&[("R4", MIB)]));
    in_order(&evidence, &["4,194,304 bytes were read of /srv/7", "1,048,576 given"]);
    assert!(fix.starts_with("gzip_static on;"), "{fix}");
}

#[test]
fn r5_names_the_interface_whose_scatter_gather_is_off() {
    let seen = evidence(
        vec![sendfiles(NGINX, 7, 31, 2 * MIB), writes(NGINX, 31, 250)],
        vec![socket(31, NGINX, vec![linear(VETH, 2 * MIB + 250)])],
    );
    let report = judged!(&seen, &context());
    assert_eq!(totals(&report), [0, 2 * MIB, 0, 250]);
    let (reasons, evidence, fix) = found(&judged!(&seen, &context()));
    assert_eq!(reasons, expected(&[("R5", 2 * MIB)]));
    in_order(&evidence, &["32 sendfile calls", "next to the headers", "veth0", "is off"]);
    assert_eq!(fix, "ethtool -K veth0 sg on");
}

#[test]
fn linear_bytes_that_were_written_are_not_the_interfaces_fault() {
    let seen = evidence(
        vec![reads(NGINX, 7, MIB), writes(NGINX, 31, MIB)],
        vec![socket(31, NGINX, vec![linear(VETH, MIB)])],
    );
    assert_eq!(found(&judged!(&seen, &context())).0, expected(&[("R1", MIB)]));
}

#[test]
fn r6_is_memory_lent_over_loopback_and_r7_too_little_of_it() {
    let lent = |interface, bytes| Pages {
        interface,
        origin: Origin::Anonymous,
        lent: Lent::ZeroCopy,
        bytes,
    };
    let mut row = zero_copy(writes(NGINX, 31, MIB));
    row.number = sys::__NR_sendto;
    let over = |interface| {
        evidence(vec![row.clone()], vec![socket(31, NGINX, vec![lent(interface, MIB)])])
    };
    let looped = judged!(&over(LO), &context());
    assert!(reasons(&looped).contains(&("R6".into(), MIB)), "{:?}", looped.findings);
    let abroad = judged!(&over(VETH), &context());
    assert!(abroad.findings.iter().all(|f| format!("{:?}", f.reason) == "R0"));
    let mut small = over(VETH);
    small.calls[0].calls = 200;
    let report = judged!(&small, &context());
    let r7 = report.findings.iter().find(|f| format!("{:?}", f.reason) == "R7").unwrap();
    in_order(&r7.evidence, &["200 sendto calls", "1,048,576 bytes", "5,242 each", "10,240"]);
}

#[test]
fn a_file_mapped_and_lent_is_by_reference() {
    let origin = cached(7, 0).origin;
    let lent = Pages { interface: VETH, origin, lent: Lent::ZeroCopy, bytes: MIB };
    let rows = vec![zero_copy(mapped_writes(NGINX, 7, 31, MIB))];
    let report = judged!(&evidence(rows, vec![socket(31, NGINX, vec![lent])]), &context());
    assert_eq!((totals(&report), report.findings.len()), ([MIB, 0, 0, 0], 0));
}

#[test]
fn r8_is_lent_pages_of_no_file_unknown_unless_the_descriptor_was_direct() {
    let lent = Pages { lent: Lent::Shared, ..kernel(MIB) };
    let mut seen =
        evidence(vec![sendfiles(NGINX, 7, 31, MIB)], vec![socket(31, NGINX, vec![lent])]);
    let report = judged!(&seen, &context());
    assert_eq!((totals(&report), reasons(&report)), ([0, 0, MIB, 0], expected(&[("R8", MIB)])));
    assert_eq!(report.by_reference_percent.value(), Some(0.0));
    seen.calls[0].is_direct = true;
    let report = judged!(&seen, &context());
    assert_eq!((totals(&report), reasons(&report)), ([MIB, 0, 0, 0], expected(&[("R8", MIB)])));
    in_order(&report.findings[0].evidence, &["O_DIRECT", "no copy"]);
}

#[test]
fn headers_in_a_lent_buffer_are_headers_and_no_r8() {
    let lent = Pages { lent: Lent::Shared, ..kernel(300) };
    let seen = evidence(
        vec![sendfiles(NGINX, 7, 31, MIB), writes(NGINX, 31, 300)],
        vec![socket(31, NGINX, vec![cached(7, MIB), lent])],
    );
    let report = judged!(&seen, &context());
    assert_eq!((totals(&report), report.findings.len()), ([MIB, 0, 0, 300], 0));
}

#[test]
fn r9_is_a_copy_between_files_where_extents_are_not_shared() {
    let copy = |number| calls(NGINX, number, (file(7), file(8)), 4, MIB);
    let on = |number, file_system: &str| {
        let mut context = context();
        context.file_systems.insert((8, 1), file_system.into());
        found(&judged!(&evidence(vec![copy(number)], vec![]), &context)).0
    };
    let r9 = expected(&[("R9", MIB)]);
    assert_eq!(on(sys::__NR_copy_file_range, "ext4"), r9);
    assert_eq!(on(sys::__NR_copy_file_range, "xfs"), []);
    assert_eq!(on(sys::__NR_sendfile, "xfs"), r9);
}

#[test]
fn r10_is_a_ring_and_copied_bytes_no_call_accounts_for() {
    let enter = calls(NGINX, sys::__NR_io_uring_enter, (None, None), 12, 0);
    let left = |pages| evidence(vec![enter.clone()], vec![socket(31, NGINX, vec![pages])]);
    let (reasons, evidence, _) = found(&judged!(&left(kernel(MIB)), &context()));
    assert_eq!(reasons, expected(&[("R10", MIB)]));
    in_order(&evidence, &["12 io_uring_enter calls", "1,048,576 bytes"]);
    let spliced = judged!(&left(cached(7, MIB)), &context());
    assert_eq!((totals(&spliced), spliced.findings.len()), ([MIB, 0, 0, 0], 0));
}

#[test]
fn a_ring_excuses_only_the_sockets_of_its_process_and_alone_is_said_to_be_there() {
    let enter = calls(PYTHON, sys::__NR_io_uring_enter, (None, None), 12, 0);
    let left = vec![socket(31, NGINX, vec![kernel(MIB)]), socket(32, PYTHON, vec![kernel(MIB)])];
    let both = reasons(&judged!(&evidence(vec![enter.clone()], left), &context()));
    assert_eq!(both, expected(&[("R10", MIB), ("R0", MIB)]));
    let alone = judged!(&evidence(vec![enter], vec![]), &context());
    let (reasons, evidence, _) = found(&alone);
    assert_eq!(reasons, expected(&[("R10", 0)]));
    in_order(&evidence, &["12 io_uring_enter calls", "not seen"]);
}

#[test]
fn r11_is_the_share_that_was_sent_again() {
    let mut lossy = socket(31, NGINX, vec![cached(7, MIB)]);
    lossy.retransmitted_bytes = 131_072;
    let seen = evidence(vec![sendfiles(NGINX, 7, 31, MIB)], vec![lossy]);
    let (reasons, evidence, _) = found(&judged!(&seen, &context()));
    assert_eq!(reasons, expected(&[("R11", 131_072)]));
    in_order(&evidence, &["131,072 bytes", "12.5 %"]);
}

#[test]
fn r0_says_what_is_not_known() {
    let made_up =
        evidence(vec![writes(NGINX, 31, MIB)], vec![socket(31, NGINX, vec![kernel(MIB)])]);
    let (reasons, evidence, _) = found(&judged!(&made_up, &context()));
    assert_eq!(reasons, expected(&[("R0", MIB)]));
    in_order(&evidence, &["1,048,576 bytes", "no file that was read accounts for them"]);

    let unix = self::evidence(vec![sendfiles(NGINX, 7, 99, MIB)], vec![]);
    let (reasons, evidence, _) = found(&judged!(&unix, &context()));
    assert_eq!(reasons, expected(&[("R0", MIB)]));
    in_order(&evidence, &["16 sendfile calls", "1 socket", "not TCP", "MPTCP"]);

    let lost = Evidence { lost: 3, ..Evidence::default() };
    in_order(&found(&judged!(&lost, &context())).1, &["3 events", "lower bound"]);

    let of_32_bits = Process { process: NGINX, is_32_bit: true, ..Process::default() };
    let such = Evidence { processes: vec![of_32_bits, Process::default()], ..Evidence::default() };
    in_order(&found(&judged!(&such, &context())).1, &["nginx: made calls of 32 bits"]);
}
