use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use underpass::Method;
use underpass_sys::region::{Access, Region};

use super::order::Order;
use super::process::Worker;
use super::{Program, Request, Specimen, run};
use crate::observe::Tier;
use crate::terms::{Cache, Link, Pair};

/// Not a test: what [`program`] starts, which has a channel as its input.
#[test]
fn a_process_of_its_own() {
    let input = std::io::stdin();
    let is_channel = rustix::net::sockopt::socket_type(&input)
        .is_ok_and(|kind| kind == rustix::net::SocketType::SEQPACKET);
    if is_channel {
        super::serve(input.as_fd()).unwrap();
    }
}

/// The test binary, as a process that carries out an order.
pub(crate) fn program() -> Program {
    let arguments = ["--exact", "compare::tests::a_process_of_its_own"].map(Into::into);
    Program { path: std::env::current_exe().unwrap(), arguments: arguments.to_vec() }
}

pub(super) fn request(cold: bool, repeats: u32) -> Request {
    Request {
        bytes: 1 << 20,
        pairs: vec![Pair::FileToPipe],
        methods: vec![Method::Sendfile],
        links: Vec::new(),
        cold,
        transfers: Vec::new(),
        repeats,
        most: Tier::C,
        eyes: false,
        claims: false,
        program: program(),
    }
}

fn specimen() -> Specimen {
    Specimen::make_in(&underpass_testkit::disk::disk_dir().unwrap(), 1 << 20).unwrap()
}

/// A page of it stays in the page cache for as long as this is there.
fn mapped(specimen: &Specimen) -> Arc<Region> {
    let file = specimen.file.try_clone().unwrap();
    let region = Region::map(file.into(), 0, 1 << 20, Access::Read, Box::new(())).unwrap();
    assert_eq!(region.copy_out(0, &mut [0]), 1);
    region
}

#[test]
fn a_row_that_is_not_cold_is_absent_and_says_why() {
    let specimen = specimen();
    let caches = || {
        let report = run(&specimen, &request(true, 1), &mut |_| ()).unwrap();
        let caches: Vec<Cache> = report.rows.iter().map(|row| row.cache).collect();
        (caches, report.absent)
    };
    assert_eq!(caches(), (vec![Cache::Warm, Cache::Cold], Vec::new()));
    let _mapped = mapped(&specimen);
    let (rows, absent) = caches();
    assert_eq!((rows, absent.len(), absent[0].cache), (vec![Cache::Warm], 1, Cache::Cold));
    let why = &absent[0].why;
    assert!(why.starts_with("the file was not cold: ") && why.contains("mapped"), "{why}");
}

#[test]
fn a_row_keeps_the_runs_that_were_cold_and_is_not_waited_for_again() {
    let specimen = specimen();
    let (mut runs, mut held) = (0, None);
    let report = run(&specimen, &request(true, 4), &mut |progress| {
        runs += usize::from(progress.label.contains("cold"));
        // Its check and its first timed run were cold.
        if runs == 3 && held.is_none() {
            held = Some((mapped(&specimen), Instant::now()));
        }
    });
    let report = report.unwrap();
    let [warm, cold] = &report.rows[..] else { panic!("{report:#?}") };
    assert_eq!((warm.cache, cold.cache, runs), (Cache::Warm, Cache::Cold, 5));
    let note = &report.conditions.notes[0];
    assert!(note.starts_with("file → pipe, cold: sendfile: 1 of 4 runs; the file was"), "{note}");
    // Three runs wait no longer than the first of them.
    let (_, since) = held.unwrap();
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
}

#[test]
fn a_file_that_the_page_cache_does_not_keep_has_no_warm_row() {
    let mut specimen = specimen();
    specimen.bytes = 2 << 20;
    let (pairs, links) = (vec![Pair::FileToTcp], vec![Link::Loopback]);
    let request = Request { bytes: 2 << 20, pairs, links, ..request(false, 1) };
    let report = run(&specimen, &request, &mut |_| ()).unwrap();
    assert_eq!((report.rows.len(), report.absent.len()), (0, 1), "{report:#?}");
    let why = "the file was not warm: the page cache keeps 256 of the file's 512 pages";
    assert_eq!(report.absent[0].why, why);
    let notes = &report.conditions.notes;
    assert!(!notes.iter().any(|note| note.contains("discards")), "told twice: {notes:?}");
}

#[test]
fn a_process_that_ends_before_it_is_ready_is_told_by_its_last_words() {
    let arguments = ["-c", "echo no room >&2"].map(Into::into).to_vec();
    let program = Program { path: "/bin/sh".into(), arguments };
    let refused = Worker::ready(&program, &Order::Read { passes: 1 }, &[]).err().unwrap();
    let words = "a process that carries out an order ended: no room";
    assert_eq!(std::io::Error::from(refused).to_string(), words);
}
