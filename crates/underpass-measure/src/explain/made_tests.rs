//! Evidence written by hand: calls, sockets and what else is known.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex};

use crate::evidence::{Calls, Evidence, FileId, FileKind, Lent, Memory, Origin, Pages, Socket};
use crate::explain::context::{Context, Interface, InterfaceKey, Program};
use crate::explain::reasons::Finding;
use crate::explain::report::Report;
use linux_raw_sys::general as sys;

pub(crate) const NGINX: u32 = 100;
pub(crate) const PYTHON: u32 = 200;
/// The network of every socket.
const NETWORK: u64 = 4_026_531_840;
pub(crate) const LO: u32 = 1;
pub(crate) const VETH: u32 = 2;

/// A regular file of 8:1, by its inode.
pub(crate) const fn file(inode: u64) -> Option<FileId> {
    Some(key(inode))
}

pub(crate) const fn socket_id(inode: u64) -> Option<FileId> {
    Some(FileId { kind: FileKind::Socket, major: 0, minor: 8, inode })
}

pub(crate) const fn pipe(inode: u64) -> Option<FileId> {
    Some(FileId { kind: FileKind::Pipe, major: 0, minor: 14, inode })
}

pub(crate) const fn key(inode: u64) -> FileId {
    FileId::regular(8, 1, inode)
}

/// Calls of a process: number, source, target, how many, bytes.
pub(crate) fn calls(
    process: u32,
    number: u32,
    (source, target): (Option<FileId>, Option<FileId>),
    calls: u64,
    bytes: u64,
) -> Calls {
    Calls { process, number, source, target, calls, bytes, head: *b"HTTP/1.1", ..Calls::default() }
}

pub(crate) fn reads(process: u32, inode: u64, bytes: u64) -> Calls {
    calls(process, sys::__NR_read, (file(inode), None), bytes.div_ceil(65_536), bytes)
}

pub(crate) fn writes(process: u32, socket: u64, bytes: u64) -> Calls {
    calls(process, sys::__NR_write, (None, socket_id(socket)), bytes.div_ceil(65_536), bytes)
}

pub(crate) fn sendfiles(process: u32, inode: u64, socket: u64, bytes: u64) -> Calls {
    let ends = (file(inode), socket_id(socket));
    calls(process, sys::__NR_sendfile, ends, bytes.div_ceil(65_536), bytes)
}

pub(crate) fn cached(inode: u64, bytes: u64) -> Pages {
    let origin = Origin::PageCache { major: 8, minor: 1, inode };
    Pages { interface: LO, origin, lent: Lent::Shared, bytes }
}

pub(crate) const fn kernel(bytes: u64) -> Pages {
    Pages { interface: LO, origin: Origin::Kernel, lent: Lent::No, bytes }
}

pub(crate) const fn linear(interface: u32, bytes: u64) -> Pages {
    Pages { interface, origin: Origin::Linear, lent: Lent::No, bytes }
}

/// A socket of a process to 10.0.0.INODE.
pub(crate) fn socket(inode: u8, process: u32, sent: Vec<Pages>) -> Socket {
    Socket {
        inode: inode.into(),
        process,
        network: NETWORK,
        local: Some(SocketAddr::from(([10, 0, 0, 1], 80))),
        peer: Some(SocketAddr::from(([10, 0, 0, inode], 40_000))),
        sent,
        ..Socket::default()
    }
}

pub(crate) fn evidence(calls: Vec<Calls>, sockets: Vec<Socket>) -> Evidence {
    Evidence { calls, sockets, ..Evidence::default() }
}

/// nginx and python, `lo` and a `veth0` without scatter-gather, files `/srv/7` to `/srv/9`.
pub(crate) fn context() -> Context {
    let program = |name: &str| Program { name: name.into(), ..Program::default() };
    let at = |index| InterfaceKey { network: NETWORK, index };
    let interface = |name: &str, is_loopback| Interface {
        name: name.into(),
        is_loopback,
        has_scatter_gather: Some(is_loopback),
    };
    Context {
        programs: [(NGINX, program("nginx")), (PYTHON, program("python3.11"))].into(),
        interfaces: [(at(LO), interface("lo", true)), (at(VETH), interface("veth0", false))].into(),
        paths: [7, 8, 9].map(|inode| (key(inode), format!("/srv/{inode}").into())).into(),
        file_systems: [((8, 1), "ext4".into())].into(),
        ..Context::default()
    }
}

/// Writes from a mapping of a file.
pub(crate) fn mapped_writes(process: u32, inode: u64, socket: u64, bytes: u64) -> Calls {
    Calls { memory: Memory::File(key(inode)), ..writes(process, socket, bytes) }
}

/// The report, of a test, and a check that it is as it was recorded.
macro_rules! judged {
    ($seen:expr, $context:expr) => {{
        fn here() {}
        $crate::explain::made_tests::as_recorded(
            std::any::type_name_of_val(&here),
            Report::new($seen, $context),
        )
    }};
}
pub(crate) use judged;

/// Every report that these tests judge, by the test and its place there, a line each: a verdict
/// that changed is a line that changed. To record all: `VERDICTS=record cargo test
/// --lib _tests`.
const VERDICTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verdicts.json");

/// The verdicts, and how many a test has asked for.
struct Verdicts {
    recorded: BTreeMap<String, serde_json::Value>,
    asked: BTreeMap<String, u32>,
}

static RECORDED: LazyLock<Mutex<Verdicts>> = LazyLock::new(|| {
    let recorded = match std::env::var_os("VERDICTS") {
        Some(_) => BTreeMap::new(),
        None => serde_json::from_str(include_str!("../../tests/verdicts.json")).unwrap(),
    };
    Mutex::new(Verdicts { recorded, asked: BTreeMap::new() })
});

pub(crate) fn as_recorded(test: &'static str, report: Report) -> Report {
    let name = test.trim_start_matches("underpass_measure::explain::");
    let name =
        name.trim_end_matches("::here").replace("::{{closure}}", "").replace("_tests::", " ");
    let mut verdict = serde_json::to_value(&report).unwrap();
    let is_verdict = |field: &str| ["total", "files", "peers", "findings"].contains(&field);
    verdict.as_object_mut().unwrap().retain(|field, _| is_verdict(field));
    let mut verdicts = RECORDED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let asked = verdicts.asked.entry(name.clone()).or_default();
    *asked += 1;
    let name = format!("{name} {asked}");
    if std::env::var_os("VERDICTS").is_some() {
        verdicts.recorded.insert(name, verdict);
        let lines: Vec<String> = verdicts
            .recorded
            .iter()
            .map(|(name, verdict)| format!("{name:?}: {verdict}"))
            .collect();
        std::fs::write(VERDICTS, format!("{{\n{}\n}}\n", lines.join(",\n"))).unwrap();
    } else {
        assert_eq!(verdicts.recorded.get(&name), Some(&verdict), "{name} is not as recorded");
    }
    report
}

/// The totals: by reference, copied, unknown, other.
pub(crate) fn totals(report: &Report) -> [u64; 4] {
    let total = &report.total;
    [total.by_reference_bytes, total.copied_bytes, total.unknown_bytes, total.other_bytes]
}

/// The reasons with their bytes.
pub(crate) fn reasons(report: &Report) -> Vec<(String, u64)> {
    let texts = |finding: &Finding| (format!("{:?}", finding.reason), finding.bytes);
    report.findings.iter().map(texts).collect()
}

/// Reasons as the tests write them.
pub(crate) fn expected(reasons: &[(&str, u64)]) -> Vec<(String, u64)> {
    reasons.iter().map(|(reason, bytes)| ((*reason).to_owned(), *bytes)).collect()
}
