use std::os::fd::AsFd;

use underpass::Method;
use underpass_sys::region::{Access, Region};

use super::{Program, Request, Specimen, run};
use crate::observe::Tier;
use crate::terms::{Cache, Pair};

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

#[test]
fn a_row_that_is_not_cold_is_absent_and_says_why() {
    let directory = underpass_testkit::disk::disk_dir().unwrap();
    let specimen = Specimen::make_in(&directory, 1 << 20).unwrap();
    let request = Request {
        bytes: 1 << 20,
        pairs: vec![Pair::FileToPipe],
        methods: vec![Method::Sendfile],
        links: Vec::new(),
        cold: true,
        transfers: Vec::new(),
        repeats: 1,
        most: Tier::C,
        eyes: false,
        claims: false,
        program: program(),
    };
    let caches = || {
        let report = run(&specimen, &request, &mut |_| ()).unwrap();
        let caches: Vec<Cache> = report.rows.iter().map(|row| row.cache).collect();
        (caches, report.absent)
    };
    assert_eq!(caches(), (vec![Cache::Warm, Cache::Cold], Vec::new()));
    let file = specimen.file.try_clone().unwrap();
    let region = Region::map(file.into(), 0, 1 << 20, Access::Read, Box::new(())).unwrap();
    let mut byte = [0];
    assert_eq!(region.copy_out(0, &mut byte), 1);
    let (rows, absent) = caches();
    assert_eq!((rows, absent.len()), (vec![Cache::Warm], 1));
    let why = &absent[0].why;
    assert!(why.starts_with("the file was not cold: ") && why.contains("mapped"), "{why}");
}
