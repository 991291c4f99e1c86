//! Bytes that came through a pipe are those of the file that was put into it.

use linux_raw_sys::general as sys;

use crate::account::{Account, Way};
use crate::evidence::{Calls, Evidence, FileId, Lent, Pages};
use crate::explain::context::{Context, Program};
use crate::explain::made_tests::*;
use crate::explain::report::Report;

const MIB: u64 = 1 << 20;
const CAT: u32 = 300;
const NC: u32 = 400;

fn programs() -> Context {
    let mut context = context();
    for (process, name) in [(CAT, "cat"), (NC, "nc")] {
        context.programs.insert(process, Program { name: name.into(), ..Program::default() });
    }
    context
}

fn moves(process: u32, number: u32, ends: (Option<FileId>, Option<FileId>), bytes: u64) -> Calls {
    calls(process, number, ends, bytes.div_ceil(65_536), bytes)
}

/// What `cat` does with a file into a pipe; it never sends, so all of it is before that.
fn cat(process: u32, inode: u64, into: u64, bytes: u64) -> [Calls; 2] {
    [
        Calls { before_sending: true, ..reads(process, inode, bytes) },
        moves(process, sys::__NR_write, (None, pipe(into)), bytes),
    ]
}

fn from_pipe(process: u32, inode: u64, bytes: u64) -> Calls {
    moves(process, sys::__NR_read, (pipe(inode), None), bytes)
}

fn spliced(source: Option<FileId>, target: Option<FileId>, bytes: u64) -> Calls {
    moves(NC, sys::__NR_splice, (source, target), bytes)
}

fn ways(seen: &Evidence) -> Vec<(Option<u64>, Way, u8, u64)> {
    let account = Account::of(seen, &programs());
    let parts = account.parts.iter();
    parts
        .map(|part| (part.file.map(|file| file.inode), part.way, part.copies, part.bytes))
        .collect()
}

#[test]
fn what_cat_writes_into_a_pipe_and_nc_sends_is_the_files_and_was_copied_four_times() {
    let mut rows = cat(CAT, 7, 1, MIB).to_vec();
    rows.extend([from_pipe(NC, 1, MIB), writes(NC, 31, MIB)]);
    let seen = evidence(rows, vec![socket(31, NC, vec![kernel(MIB)])]);
    assert_eq!(ways(&seen), [(Some(7), Way::Piped, 4, MIB)]);
    let report = judged!(&seen, &programs());
    assert_eq!(totals(&report), [0, MIB, 0, 0]);
    assert_eq!(reasons(&report), expected(&[("R1", MIB)]));
    let text = &report.findings[0].evidence;
    assert!(text.starts_with("cat: 16 read calls took 1,048,576 bytes of /srv/7"), "{text}");
    assert!(text.contains("into a pipe; nc: 16 write calls gave 1,048,576"), "{text}");
    assert!(text.ends_with("to the sockets; 4 copies of each byte"), "{text}");
}

#[test]
fn what_is_spliced_out_of_a_pipe_was_copied_as_often_as_by_who_filled_it() {
    let shared = Pages { lent: Lent::Shared, ..kernel(MIB) };
    let mut rows = cat(CAT, 7, 1, MIB).to_vec();
    rows.push(spliced(pipe(1), socket_id(31), MIB));
    let seen = evidence(rows, vec![socket(31, NC, vec![shared])]);
    assert_eq!(ways(&seen), [(Some(7), Way::Piped, 2, MIB)]);
    let report = judged!(&seen, &programs());
    assert_eq!(reasons(&report), expected(&[("R1", MIB)]));
    assert!(report.findings[0].fix.contains("the file itself"), "{:?}", report.findings);

    let rows = vec![
        moves(CAT, sys::__NR_splice, (file(7), pipe(1)), MIB),
        from_pipe(NC, 1, MIB),
        writes(NC, 31, MIB),
    ];
    let seen = evidence(rows, vec![socket(31, NC, vec![kernel(MIB)])]);
    assert_eq!(ways(&seen), [(Some(7), Way::Read, 2, MIB)]);
    let report = judged!(&seen, &programs());
    let text = &report.findings[0].evidence;
    assert!(text.contains("16 splice calls took 1,048,576 bytes of /srv/7"), "{text}");
}

#[test]
fn a_pipe_with_two_writers_has_the_bytes_of_both_and_a_tee_those_of_one_twice() {
    let mut rows = [cat(CAT, 7, 1, 3 * MIB), cat(PYTHON, 8, 1, MIB)].concat();
    rows.extend([from_pipe(NC, 1, 4 * MIB), writes(NC, 31, 4 * MIB)]);
    let seen = evidence(rows, vec![socket(31, NC, vec![kernel(4 * MIB)])]);
    let both = [(Some(7), Way::Piped, 4, 3 * MIB), (Some(8), Way::Piped, 4, MIB)];
    assert_eq!(ways(&seen), both);

    let rows = vec![
        spliced(file(7), pipe(1), MIB),
        moves(NC, sys::__NR_tee, (pipe(1), pipe(2)), MIB),
        spliced(pipe(1), socket_id(31), MIB),
        spliced(pipe(2), socket_id(32), MIB),
    ];
    let left = [31, 32].map(|inode| socket(inode, NC, vec![cached(7, MIB)]));
    let seen = evidence(rows, left.to_vec());
    assert_eq!(ways(&seen), [(Some(7), Way::Reference, 0, MIB); 2]);
}

#[test]
fn what_was_compressed_before_the_pipe_is_not_what_was_read() {
    let mut rows = cat(CAT, 7, 1, MIB).to_vec();
    rows[0].bytes = 4 * MIB;
    rows.extend([from_pipe(NC, 1, MIB), writes(NC, 31, MIB)]);
    let seen = evidence(rows, vec![socket(31, NC, vec![kernel(MIB)])]);
    let report = judged!(&seen, &programs());
    assert_eq!(reasons(&report), expected(&[("R4", MIB)]));
    let text = &report.findings[0].evidence;
    assert!(text.contains("4,194,304 bytes were read of /srv/7 and 1,048,576 given"), "{text}");
}

#[test]
fn a_pipe_that_is_not_watched_is_said_to_be_and_its_bytes_are_no_files() {
    let rows = vec![from_pipe(NC, 1, MIB), writes(NC, 31, MIB + 300)];
    let seen = evidence(rows, vec![socket(31, NC, vec![kernel(MIB + 300)])]);
    let report = judged!(&seen, &programs());
    assert_eq!(
        (totals(&report), reasons(&report)),
        ([0, 0, 0, MIB + 300], expected(&[("R0", MIB)]))
    );
    let text = &report.findings[0].evidence;
    assert!(text.contains("a pipe that no watched process filled"), "{text}");
    // The half of it that a watched process put there is known.
    let mut rows = cat(CAT, 7, 1, MIB / 2).to_vec();
    rows.push(spliced(pipe(1), socket_id(31), MIB));
    let shared = Pages { lent: Lent::Shared, ..kernel(MIB) };
    let seen = evidence(rows, vec![socket(31, NC, vec![shared])]);
    assert_eq!(totals(&judged!(&seen, &programs())), [0, MIB / 2, 0, MIB / 2]);
}

#[test]
fn what_a_program_reads_for_itself_is_not_what_it_writes_nor_what_it_sends_later() {
    // head(1) of /dev/zero reads the aliases of locales.
    let mut rows = cat(CAT, 7, 1, 2_996).to_vec();
    rows[1].bytes = 5 * MIB;
    rows.extend([from_pipe(NC, 1, 5 * MIB), writes(NC, 31, 5 * MIB)]);
    let seen = evidence(rows, vec![socket(31, NC, vec![kernel(5 * MIB)])]);
    assert_eq!(totals(&judged!(&seen, &programs())), [0, 0, 0, 5 * MIB]);
    // A shell that becomes the program took a line of a filter before.
    let mut rows = cat(CAT, 7, 1, 2_996).to_vec();
    rows[1].bytes = 36;
    rows.push(Calls { before_sending: true, ..from_pipe(NC, 1, 36) });
    rows.push(writes(NC, 31, 57));
    let seen = evidence(rows, vec![socket(31, NC, vec![kernel(57)])]);
    assert_eq!(totals(&judged!(&seen, &programs())), [0, 0, 0, 57]);
    // What is taken first is of what is taken, and sent, later.
    let mut rows = cat(CAT, 7, 1, MIB).to_vec();
    rows.push(Calls { before_sending: true, ..from_pipe(NC, 1, 16_384) });
    rows.extend([from_pipe(NC, 1, MIB - 16_384), writes(NC, 31, MIB)]);
    let seen = evidence(rows, vec![socket(31, NC, vec![kernel(MIB)])]);
    assert_eq!(totals(&judged!(&seen, &programs())), [0, MIB, 0, 0]);
}

#[test]
fn bytes_that_go_around_are_no_files_and_a_pipe_to_oneself_is_nothing_given() {
    let rows = vec![
        from_pipe(CAT, 1, MIB),
        moves(CAT, sys::__NR_write, (None, pipe(2)), MIB),
        from_pipe(NC, 2, MIB),
        moves(NC, sys::__NR_write, (None, pipe(1)), MIB),
        writes(NC, 31, MIB),
    ];
    let seen = evidence(rows, vec![socket(31, NC, vec![kernel(MIB)])]);
    assert_eq!(totals(&judged!(&seen, &programs())), [0, 0, 0, MIB]);

    // What it gives to itself is its own, whatever it read.
    let rows = vec![
        reads(NC, 7, MIB),
        moves(NC, sys::__NR_write, (None, pipe(1)), MIB),
        spliced(pipe(1), socket_id(31), MIB),
    ];
    let shared = Pages { lent: Lent::Shared, ..kernel(MIB) };
    let seen = evidence(rows, vec![socket(31, NC, vec![shared])]);
    assert_eq!(ways(&seen), [(None, Way::Memory, 1, MIB)]);

    let rows = vec![
        reads(NC, 7, MIB),
        writes(NC, 31, MIB),
        moves(NC, sys::__NR_write, (None, pipe(1)), MIB),
        from_pipe(NC, 1, MIB),
    ];
    let seen = evidence(rows, vec![socket(31, NC, vec![kernel(MIB)])]);
    assert_eq!(ways(&seen), [(Some(7), Way::Read, 2, MIB)]);
}

/// What is told does not depend on which number a process was given.
#[test]
fn a_circle_is_followed_to_the_one_who_wrote_into_the_pipe() {
    // A server gives a request to a program by a pipe, and sends what that answers by another.
    let served = |server: u32, program: u32| {
        let rows = vec![
            moves(server, sys::__NR_write, (None, pipe(1)), 20_000),
            from_pipe(program, 1, 20_000),
            reads(program, 7, MIB),
            moves(program, sys::__NR_write, (None, pipe(2)), MIB),
            from_pipe(server, 2, MIB),
            writes(server, 31, MIB),
        ];
        let seen = evidence(rows, vec![socket(31, server, vec![kernel(MIB)])]);
        let mut ways: Vec<_> =
            ways(&seen).into_iter().map(|(file, way, _, b)| (file, way, b)).collect();
        ways.sort_unstable_by_key(|(.., bytes)| std::cmp::Reverse(*bytes));
        ways
    };
    let (one, other) = (served(CAT, NC), served(NC, CAT));
    assert_eq!(one, other);
    assert_eq!((one[0].0, one[0].1), (Some(7), Way::Piped));
    assert!(one[0].2 > MIB - 40_000, "{one:?}");
}

#[test]
fn what_came_into_a_pipe_while_nothing_was_looked_at_is_not_known() {
    let mut rows = cat(CAT, 7, 1, MIB).to_vec();
    rows.push(spliced(pipe(1), socket_id(31), 3 * MIB));
    let shared = Pages { lent: Lent::Shared, ..kernel(3 * MIB) };
    let mut seen = evidence(rows, vec![socket(31, NC, vec![shared])]);
    seen.has_gaps = true;
    let report = judged!(&seen, &programs());
    assert_eq!(totals(&report), [0, MIB, 2 * MIB, 0]);
    assert!(reasons(&report).contains(&("R0".into(), 2 * MIB)), "{:?}", report.findings);
}

#[test]
fn a_pipe_that_is_not_watched_is_one_also_behind_another() {
    let rows = vec![
        from_pipe(CAT, 1, MIB),
        moves(CAT, sys::__NR_write, (None, pipe(2)), MIB),
        from_pipe(NC, 2, MIB),
        writes(NC, 31, MIB),
    ];
    let seen = evidence(rows, vec![socket(31, NC, vec![kernel(MIB)])]);
    assert_eq!(ways(&seen), [(None, Way::FromPipe, 4, MIB)]);
}
