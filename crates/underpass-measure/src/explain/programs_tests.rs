//! What real programs do, with what was once said of them wrongly.

use linux_raw_sys::general as sys;

use crate::account::context::Runtime;
use crate::account::{Account, Way};
use crate::evidence::{Calls, Evidence, FileId, Mapped, Memory, Pages};
use crate::explain::context::{Context, Program};
use crate::explain::made_tests::*;
use crate::explain::report::Report;

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;
const APP: u32 = 500;
const OTHER: u32 = 501;

fn with(program: &str, runtime: Option<Runtime>) -> Context {
    let mut context = context();
    let name = program.to_owned();
    context.programs.insert(APP, Program { name, runtime, ..Program::default() });
    context
}

fn mapped(inode: u64, is_program: bool) -> Mapped {
    Mapped { process: APP, file: key(inode), bytes: MIB, is_program, is_written: false }
}

fn tls(mut row: Calls) -> Calls {
    row.head = [0x17, 3, 3, 0x40, 0x11, 1, 2, 3];
    row
}

fn not_seen(row: Calls) -> Calls {
    Calls { memory: Memory::NotSeen, ..row }
}

fn left(rows: Vec<Calls>, bytes: u64) -> Evidence {
    evidence(rows, vec![socket(31, APP, vec![kernel(bytes)])])
}

fn copied(report: &Report) -> Vec<(&str, u64)> {
    report.files.iter().map(|share| (share.name.as_str(), share.copied_bytes)).collect()
}

/// Java, three files mapped a request each: all of it was "of" the last.
#[test]
fn each_map_that_was_given_is_of_its_own_file() {
    let rows = [(7, 100 * MIB), (8, 2 * MIB), (9, 200 * KIB)];
    let rows = rows.map(|(inode, bytes)| mapped_writes(APP, inode, 31, bytes)).to_vec();
    let all = 102 * MIB + 200 * KIB;
    let report = judged!(&left(rows, all), &with("java", Some(Runtime::Java)));
    let expected = [("/srv/7", 100 * MIB), ("/srv/8", 2 * MIB), ("/srv/9", 200 * KIB)];
    assert_eq!(copied(&report), expected);
}

/// Apache with EnableMMAP and threads, whose maps the kernel cannot always look at: "of no file";
/// and the heads of others, where anything is mapped: "from addresses in the mapping".
#[test]
fn memory_that_was_not_seen_is_the_rest_of_the_one_file_that_it_fits_or_not_known() {
    let of = |seen: &Evidence| {
        let mut context = with("apache2", None);
        context.sizes.extend([(key(7), MIB), (key(8), 3 * MIB)]);
        let report = judged!(seen, &context);
        let first = report.files.first().map(|file| file.name.clone());
        (totals(&report), reasons(&report), first.unwrap_or_default())
    };
    let mut seen = left(vec![not_seen(writes(APP, 31, MIB))], MIB);
    seen.mapped = vec![mapped(7, false), mapped(8, false), mapped(99, true)];
    let r2 = |bytes| expected(&[("R2", bytes)]);
    assert_eq!(of(&seen), ([0, MIB, 0, 0], r2(MIB), "/srv/7".into()));
    // Of two pieces of the other one was seen.
    seen.calls.push(mapped_writes(APP, 8, 31, 2 * MIB));
    seen.sockets[0].sent = vec![kernel(3 * MIB)];
    let both = "perhaps a file";
    let (totals_of_both, ..) = of(&seen);
    assert_eq!(totals_of_both, [0, 2 * MIB, MIB, 0], "{both}: it fits either");
    seen.calls[0].bytes = MIB / 2;
    seen.calls[1].bytes = 5 * MIB / 2;
    assert_eq!(of(&seen), ([0, 3 * MIB, 0, 0], r2(3 * MIB), "/srv/8".into()));
    // What fits no file may be of any; a head is of none of them.
    seen.calls = vec![not_seen(writes(APP, 31, 5_000))];
    seen.sockets[0].sent = vec![kernel(5_000)];
    assert_eq!(of(&seen), ([0, 0, 5_000, 0], expected(&[("R0", 5_000)]), both.into()));
    seen.calls = vec![not_seen(writes(APP, 31, 300))];
    seen.sockets[0].sent = vec![kernel(300)];
    assert_eq!(of(&seen).0, [0, 0, 0, 300]);
    // Nothing is mapped, or what is read accounts for it.
    seen = left(vec![not_seen(writes(APP, 31, MIB))], MIB);
    assert_eq!(of(&seen).0, [0, 0, 0, MIB]);
    seen.calls.push(reads(APP, 9, MIB));
    seen.mapped.push(mapped(8, false));
    assert_eq!(of(&seen), ([0, MIB, 0, 0], expected(&[("R1", MIB)]), "/srv/9".into()));
}

/// Python's ssl over a kept mapping: "of no file"; and a Java service that makes up what it sends,
/// next to the counters that it shares: "all of /tmp/hsperfdata".
#[test]
fn tls_records_are_of_the_mapped_file_of_which_they_have_the_length_or_not_known() {
    // Python, measured: a handshake, and 257 records each with 22 bytes that are not the file's.
    let (len, records) = (4_194_307, 4_201_341);
    let mut seen = left(vec![tls(writes(APP, 31, records))], records);
    seen.mapped = vec![mapped(7, false), mapped(8, false)];
    let mut context = with("python3", None);
    context.paths.insert(key(8), "/usr/lib/locale/locale-archive".into());
    context.sizes.extend([(key(7), len), (key(8), records - 6_000)]);
    let report = judged!(&seen, &context);
    assert_eq!(totals(&report), [0, len, 0, records - len]);
    assert_eq!(
        (copied(&report), reasons(&report)),
        (vec![("/srv/7", len)], expected(&[("R3", len)]))
    );
    assert!(report.findings[0].evidence.contains("/srv/7 is mapped"), "{:?}", report.findings);
    let copies: Vec<u8> = Account::of(&seen, &context).parts.iter().map(|it| it.copies).collect();
    assert_eq!(copies, [2, 1]);
    // Half of it, the length of something else, and a length that is not known.
    for len in [Some(2 * len), Some(len - 50_000), Some(len + 4_000), None] {
        context.sizes = len.map(|len| (key(7), len)).into_iter().collect();
        let report = judged!(&seen, &context);
        assert_eq!(totals(&report), [0, 0, records, 0], "{len:?}");
        assert_eq!(reasons(&report), expected(&[("R0", records)]));
    }
    // What is shared and written is memory of the program.
    seen.mapped[0].is_written = true;
    let report = judged!(&seen, &context);
    assert_eq!((totals(&report)[3], reasons(&report)), (records, expected(&[("R0", records)])));
    // A handshake is not of it, nor are the heads of records.
    seen.mapped[0].is_written = false;
    let handshake = vec![socket(31, APP, vec![kernel(2_000)])];
    let alone = Evidence { sockets: handshake, ..seen.clone() };
    assert_eq!(totals(&judged!(&alone, &context)), [0, 0, 0, 2_000]);
    seen.calls.push(reads(APP, 9, records - 9_000));
    assert_eq!(totals(&judged!(&seen, &context)), [0, records - 9_000, 0, 9_000]);
}

/// Go: of each 4 KiB file 512 bytes go with the head, and 512 were read to see what it is; 225 of
/// 200 KiB were said to have left.
#[test]
fn what_was_read_to_see_what_a_file_is_was_not_sent() {
    let go = |passed: u64, read: u64, given: u64| {
        let mut rows = vec![reads(APP, 7, read), sendfiles(APP, 7, 31, passed)];
        rows[0].calls = read / 512;
        rows.push(writes(APP, 31, given));
        let pages = vec![cached(7, passed), kernel(given)];
        let mut context = with("server", Some(Runtime::Go));
        context.sizes.insert(key(7), 4096);
        let seen = evidence(rows, vec![socket(31, APP, pages)]);
        totals(&judged!(&seen, &context))
    };
    let (small, head) = (50 * 3584, 50 * 190);
    assert_eq!(go(small, 100 * 512, 50 * 512 + head), [small, 50 * 512, 0, head]);
    assert_eq!(go(50 * 4096, 50 * 512, 30_000), [50 * 4096, 0, 0, 30_000]);
    // nginx begins the files of its cache with what is for itself.
    let cached_files = |given: u64| {
        let all = [7, 8, 9].into_iter();
        let mut rows: Vec<Calls> =
            all.clone().flat_map(|it| [reads(APP, it, 580), sendfiles(APP, it, 31, MIB)]).collect();
        rows.push(calls(APP, sys::__NR_recvfrom, (socket_id(31), None), 9, 240));
        rows.push(writes(APP, 31, given));
        let mut context = with("nginx", None);
        context.sizes.extend(all.clone().map(|it| (key(it), MIB + 580)));
        let mut pages: Vec<Pages> = all.map(|it| cached(it, MIB)).collect();
        pages.push(kernel(given));
        totals(&judged!(&evidence(rows, vec![socket(31, APP, pages)]), &context))
    };
    assert_eq!(cached_files(635), [3 * MIB, 0, 0, 635]);
    // Caddy sends what it has read, and reads its requests in many pieces.
    assert_eq!(cached_files(3 * 580 + 550), [3 * MIB, 3 * 580, 0, 550]);
    // A server that sends it both ways reads more at a time.
    let mut both = vec![sendfiles(APP, 7, 31, MIB), reads(APP, 7, MIB), writes(APP, 32, MIB)];
    both[1].calls = 32;
    let mut context = with("nginx", None);
    context.sizes.insert(key(7), MIB);
    let sockets = vec![socket(31, APP, vec![cached(7, MIB)]), socket(32, APP, vec![kernel(MIB)])];
    assert_eq!(totals(&judged!(&evidence(both, sockets), &context)), [MIB, MIB, 0, 0]);
}

/// vsftpd: libm.so.6 with "832 bytes copied".
#[test]
fn the_head_of_a_library_is_not_sent_and_constants_of_a_program_are_no_mapping() {
    let mut rows = vec![reads(APP, 9, 832), reads(APP, 7, MIB), writes(APP, 31, MIB + 5_000)];
    rows.push(mapped_writes(APP, 99, 31, 700));
    let mut seen = left(rows, MIB + 5_700);
    assert_eq!(copied(&judged!(&seen, &with("vsftpd", None))).len(), 3);
    seen.mapped = vec![mapped(9, true), mapped(99, true)];
    let report = judged!(&seen, &with("vsftpd", None));
    assert_eq!(copied(&report), [("/srv/7", MIB)]);
    // In a container maps show another device than pages have.
    let mut context = with("vsftpd", None);
    context.file_systems.insert((0, 40), "overlay".into());
    context.program_files = [9, 99].map(|inode| FileId::regular(0, 40, inode)).into();
    let mapped = std::mem::take(&mut seen.mapped);
    assert_eq!(copied(&judged!(&seen, &context)), [("/srv/7", MIB)]);
    seen.mapped = mapped;
    // One that is served is.
    seen.calls[0] = reads(APP, 9, 5_000);
    assert_eq!(totals(&judged!(&seen, &with("vsftpd", None)))[1], MIB + 5_000);
}

/// Python reads its modules, and other programs tables of types and locales, when they are asked.
#[test]
fn what_is_read_of_the_system_is_not_sent_unless_it_is_all_that_was() {
    let of = |path: &str, system: u64, given: u64| {
        let rows = vec![reads(APP, 7, MIB), reads(APP, 8, system), writes(APP, 31, given)];
        let mut context = with("python3", None);
        context.paths.insert(key(8), path.into());
        totals(&judged!(&left(rows, given), &context))[1]
    };
    let module = "/usr/lib/python3.11/__pycache__/email.pyc";
    assert_eq!(of(module, 20_000, MIB + 60_000), MIB);
    assert_eq!(of("/srv/8", 20_000, MIB + 60_000), MIB + 20_000);
    assert_eq!(of(module, 20_000, MIB + 20_250), MIB + 20_000);
    assert_eq!(of(module, MIB, 2 * MIB + 60_000), 2 * MIB);
    // What is served is there, too.
    for path in ["/var/cache/nginx/7/29/b7f54b", "/usr/lib/python3/dist-packages/app/static/a.js"] {
        assert_eq!(of(path, 20_000, MIB + 60_000), MIB + 20_000, "{path}");
    }
    assert_eq!(of("/etc/resolv.conf", 20_000, MIB + 60_000), MIB);
}

/// A package index under /usr/lib, or /etc itself: "of no file".
#[test]
fn what_is_read_of_the_system_again_and_again_is_served() {
    let of = |path: &str, times: u64| {
        let rows = vec![reads(APP, 8, times * 20_000), writes(APP, 31, times * 20_250 + 90_000)];
        let mut context = with("python3", None);
        context.paths.insert(key(8), path.into());
        context.sizes.insert(key(8), 20_000);
        totals(&judged!(&left(rows, times * 20_250 + 90_000), &context))[1]
    };
    let wheel = "/usr/lib/python3/dist-packages/app/wheels/app.jar";
    assert_eq!((of(wheel, 1), of(wheel, 2)), (0, 40_000));
    assert_eq!(of("/etc/hosts", 20), 0);
    // A configuration is not sent because heads are as long.
    let rows = vec![
        Calls { before_sending: true, ..reads(APP, 7, 20_000) },
        calls(APP, sys::__NR_recvfrom, (socket_id(31), None), 100, 8_000),
        writes(APP, 31, 25_000),
    ];
    let report = judged!(&left(rows, 25_000), &with("python3", None));
    assert_eq!(totals(&report), [0, 0, 0, 25_000]);
    // Two tables are all that was sent, with heads by as many requests.
    let rows = vec![
        reads(APP, 8, 30_000),
        reads(APP, 9, 12_000),
        calls(APP, sys::__NR_recvfrom, (socket_id(31), None), 10, 800),
        writes(APP, 31, 42_000 + 2_500),
    ];
    let mut context = with("python3", None);
    context.paths.extend([(key(8), "/etc/services".into()), (key(9), "/etc/mime.types".into())]);
    assert_eq!(totals(&judged!(&left(rows, 44_500), &context)), [0, 42_000, 0, 2_500]);
}

/// rsync and samba: R1 for 20 bytes.
#[test]
fn a_trifle_is_counted_and_is_no_reason() {
    let of = |file: u64, trifle: u64| {
        let rows = vec![
            sendfiles(APP, 7, 31, file),
            Calls { calls: 1, ..mapped_writes(APP, 8, 31, trifle) },
        ];
        let pages = vec![cached(7, file), kernel(trifle)];
        let seen = evidence(rows, vec![socket(31, APP, pages)]);
        let report = judged!(&seen, &with("smbd", None));
        assert_eq!(totals(&report), [file, trifle, 0, 0]);
        report.findings.len()
    };
    assert_eq!(
        (of(MIB, 20), of(10 * KIB, 20), of(100 * MIB, 4096), of(100 * MIB, 4095)),
        (0, 1, 1, 0)
    );
}

/// samba: R1 three times, since its processes had three names.
#[test]
fn one_change_that_would_mend_several_programs_is_told_once() {
    let rows = [(APP, 7, 31), (OTHER, 8, 32)];
    let rows = rows.map(|(process, inode, socket)| {
        vec![reads(process, inode, MIB), writes(process, socket, MIB)]
    });
    let sockets = [(APP, 31), (OTHER, 32)];
    let sockets = sockets.map(|(process, inode)| socket(inode, process, vec![kernel(MIB)]));
    let seen = evidence(rows.concat(), sockets.to_vec());
    let report = judged!(&seen, &with("socat", None));
    assert_eq!(reasons(&report), expected(&[("R1", 2 * MIB)]));
    let text = &report.findings[0].evidence;
    assert!(text.starts_with("process 501, socat: 32 read calls took 2,097,152"), "{text}");
    let mut context = with("nginx", None);
    context.programs.insert(OTHER, Program { name: "apache2".into(), ..Program::default() });
    assert_eq!(reasons(&judged!(&seen, &context)).len(), 2);
}

/// lighttpd, 4 KiB files: advice that does not pay.
#[test]
fn small_files_are_copied_rightly_if_their_length_is_known() {
    let seen =
        left(vec![reads(APP, 7, 4 * MIB), writes(APP, 31, 4 * MIB + 9_000)], 4 * MIB + 9_000);
    let fix = |size: Option<u64>| {
        let mut context = with("lighttpd", None);
        context.sizes.extend(size.map(|size| (key(7), size)));
        judged!(&seen, &context).findings[0].fix.clone()
    };
    assert!(fix(Some(4096)).starts_with("none: small pieces"));
    for size in [None, Some(4 * MIB), Some(0)] {
        assert!(fix(size).contains("network-backend"), "{size:?}");
    }
}

/// HAProxy without splice: R0, and a fix that does not help.
#[test]
fn what_came_from_a_socket_and_went_to_one_is_relayed_and_heads_are_not() {
    let received = |bytes, number| calls(APP, number, (socket_id(40), None), 1_600, bytes);
    let rows = vec![received(100 * MIB, sys::__NR_recvfrom), writes(APP, 31, 100 * MIB)];
    let report = judged!(&left(rows, 100 * MIB), &with("haproxy", None));
    assert_eq!(
        (totals(&report)[3], reasons(&report)),
        (100 * MIB, expected(&[("R12", 100 * MIB)]))
    );
    assert!(report.findings[0].fix.contains("splice-auto"), "{:?}", report.findings);
    // Requests go the other way.
    let mut rows = vec![received(100 * MIB, sys::__NR_recvfrom), writes(APP, 31, 100 * MIB)];
    rows.push(calls(APP, sys::__NR_recvfrom, (socket_id(31), None), 3, 265));
    rows.push(writes(APP, 33, 265));
    let mut seen = left(rows, 100 * MIB);
    seen.sockets.push(socket(33, APP, vec![kernel(265)]));
    seen.sockets[1].local = Some(([10, 0, 0, 1], 40_001).into());
    let reasons_of_both = reasons(&judged!(&seen, &with("haproxy", None)));
    assert_eq!(reasons_of_both, expected(&[("R12", 100 * MIB + 265)]));
    // Heads are about as long as requests.
    let heads = |times: u64| {
        let request = Calls { calls: times, ..received(260 * times, sys::__NR_read) };
        let rows = vec![request, sendfiles(APP, 7, 31, MIB), writes(APP, 31, 250 * times)];
        let pages = vec![cached(7, MIB), kernel(250 * times)];
        let seen = evidence(rows, vec![socket(31, APP, pages)]);
        reasons(&judged!(&seen, &with("app", None)))
    };
    assert_eq!((heads(1), heads(400)), (vec![], vec![]));
    // A server that was asked for much and made up more.
    let rows = vec![received(80 * KIB, sys::__NR_read), writes(APP, 31, MIB)];
    let report = judged!(&left(rows, MIB), &with("app", None));
    assert_eq!(reasons(&report), expected(&[("R0", MIB)]));
}

/// Redis with large values that are set and asked for; a service that answers with about as much as
/// it is sent.
#[test]
fn what_comes_and_goes_by_the_same_side_is_not_passed_on() {
    let moved = |from: u64, to: u64| {
        let taken = calls(APP, sys::__NR_read, (socket_id(from), None), 1_600, 100 * MIB);
        let rows = vec![taken, writes(APP, to, 100 * MIB)];
        let mut seen = evidence(
            rows,
            vec![
                socket(31, APP, vec![if to == 31 { kernel(100 * MIB) } else { kernel(0) }]),
                socket(32, APP, vec![if to == 32 { kernel(100 * MIB) } else { kernel(0) }]),
                socket(33, APP, vec![if to == 33 { kernel(100 * MIB) } else { kernel(0) }]),
            ],
        );
        // The third was connected, and has a port that no other has.
        seen.sockets[2].local = Some(([10, 0, 0, 1], 40_001).into());
        reasons(&judged!(&seen, &with("app", None)))
    };
    let (none, relayed) = (expected(&[("R0", 100 * MIB)]), expected(&[("R12", 100 * MIB)]));
    assert_eq!((moved(31, 31), moved(31, 32)), (none.clone(), none));
    assert_eq!((moved(33, 31), moved(31, 33)), (relayed.clone(), relayed));
}

/// Under `-- COMMAND` it was advised to use `-- COMMAND`.
#[test]
fn who_watches_from_the_start_is_not_told_to() {
    let seen = left(vec![writes(APP, 31, MIB)], MIB);
    let mut context = with("yes", None);
    assert!(judged!(&seen, &context).findings[0].fix.contains("explain -- COMMAND"));
    context.is_from_start = true;
    let report = judged!(&seen, &context);
    let finding = &report.findings[0];
    assert!(!finding.fix.contains("COMMAND") && !finding.evidence.contains("before the watch"));
}

#[test]
fn a_file_that_is_mapped_and_read_is_credited_for_each() {
    let rows =
        vec![mapped_writes(APP, 7, 31, MIB), reads(APP, 7, 2 * MIB), writes(APP, 31, 2 * MIB)];
    let seen = left(rows, 3 * MIB);
    let account = Account::of(&seen, &with("app", None));
    let sum = |way| account.sum(|part| part.way == way && part.file == Some(key(7)));
    assert_eq!((sum(Way::Mapped), sum(Way::Read)), (MIB, 2 * MIB));
    assert_eq!(account.sum(|_| true), 3 * MIB);
}
