//! One series out of a block much larger than the memory that it takes.

use std::process::Command;

use underpass_testkit::block::SparseBlock;
use underpass_testkit::disk::disk_dir;
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

/// Private writable memory: setrlimit(2), `RLIMIT_DATA`.
const MEMORY_MAX: u64 = 20 << 20;

#[test]
fn one_series_of_a_large_block_is_dumped_in_little_memory() {
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let block = SparseBlock { metrics: 100, instances: 600, chunks: 24 };
    block.write(&dir.path().join("01HF5GWQ00SPARSEBQ0CK00000")).unwrap();
    assert!(block.chunk_bytes() > 50 * MEMORY_MAX);
    let [metric, instance] = block.series();
    let labels = format!("{{__name__=\"{metric}\", instance=\"{instance}\"}}");
    let lines = block.samples().map(|(time, value)| format!("{labels} {value} {time}\n"));
    let expected: String = lines.collect();
    for backend in ["--read=map", "--read=pread"] {
        let mut command = Command::new("prlimit");
        command.arg(format!("--data={MEMORY_MAX}")).arg(env!("CARGO_BIN_EXE_underpass"));
        command.args(["tsdb", "dump", backend]).arg(dir.path());
        command.arg(format!("--match={metric}{{instance=\"{instance}\"}}"));
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{backend}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{backend}");
        assert!(output.status.success(), "{backend}: {}", output.status);
    }
}

#[test]
fn a_series_opens_the_one_segment_that_has_its_chunks() {
    require!(Capability::Strace);
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let block = SparseBlock { metrics: 100, instances: 200, chunks: 200 };
    block.write(&dir.path().join("01HF5GWQ00SPARSEBQ0CK00000")).unwrap();
    assert!(block.chunk_bytes() > 4 << 30);
    let [metric, instance] = block.series();
    let calls = dir.path().join("calls");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=openat", "-o"]).arg(&calls);
    command.arg(env!("CARGO_BIN_EXE_underpass")).args(["tsdb", "dump"]).arg(dir.path());
    command.arg(format!("--match={metric}{{instance=\"{instance}\"}}"));
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let calls = std::fs::read_to_string(calls).unwrap();
    let opened = calls.lines().filter(|line| line.contains("/chunks/0"));
    assert_eq!(opened.count(), 1, "{calls}");
}
