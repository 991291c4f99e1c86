//! `tsdb dump --format arrow` and `--format parquet`, as DuckDB and pyarrow read them.

use std::fmt::Write;
use std::path::Path;

use underpass_testkit::block::Block;
use underpass_testkit::prometheus::{Fixture, Suite};
use underpass_testkit::python::Python;
use underpass_testkit::require;

use crate::command::underpass;

const AS_TEXT: &str = include_str!("tsdb_tables/as_text.py");

fn python() -> Result<Python, underpass_testkit::skip::Missing> {
    Python::with_table_readers(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

/// What promtool prints, with the bits of each value in place of its text.
fn with_bits(promtools: &str) -> String {
    let mut lines = String::new();
    for line in promtools.lines() {
        let [time, value, labels] = {
            let mut words = line.rsplitn(3, ' ');
            [(); 3].map(|()| words.next().unwrap())
        };
        let bits = value.parse::<f64>().unwrap().to_bits();
        writeln!(lines, "{labels} {bits:016x} {time}").unwrap();
    }
    lines
}

#[test]
fn tables_hold_what_promtool_prints() {
    let (python, tools) = (require!(python()), require!(Suite::Sid.tools()));
    let data = require!(Fixture::Windows.data());
    let matching = r#"--match={__name__=~".+",instance=~".*[02468][.]example.*"}"#;
    let expected = tools.dump("dump", &data, &[matching]).unwrap();
    let expected = with_bits(std::str::from_utf8(&expected).unwrap());
    assert!(expected.lines().count() > 50_000);
    let dir = tempfile::tempdir().unwrap();
    for (format, threads) in [("parquet", "1"), ("parquet", "3"), ("arrow", "2")] {
        let target = dir.path().join(format!("{format}-{threads}"));
        let [data, output] = [data.to_str().unwrap(), target.to_str().unwrap()];
        let flags = ["--format", format, "--threads", threads, "--output", output, matching];
        let told = underpass(&[&["tsdb", "dump", data], &flags[..]].concat());
        assert_eq!(std::str::from_utf8(&told.stderr).unwrap(), "");
        let found = python.run(AS_TEXT, &[target.as_os_str(), format.as_ref()]);
        let differs = found.lines().zip(expected.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "{format} by {threads}");
        assert_eq!(found.len(), expected.len());
    }
}

#[test]
fn one_table_goes_to_standard_output_past_damage() {
    const PRINT: &str = "import sys, pyarrow as pa\n\
        for row in pa.ipc.open_stream(sys.argv[1]).read_all().to_pylist():\n    print(row)";
    let python = require!(python());
    let dir = tempfile::tempdir().unwrap();
    let written = Block::small(2).write(dir.path()).unwrap();
    let path = written.dir.to_str().unwrap();
    // The data of the first chunk, which is the histogram's.
    let mut segment = std::fs::read(written.dir.join("chunks/000001")).unwrap();
    segment[12] ^= 1;
    std::fs::write(written.dir.join("chunks/000001"), segment).unwrap();
    let told = underpass(&["tsdb", "dump", path, "--format", "arrow", "--table", "series"]);
    let stderr = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("000001: byte 8: chunk: checksum"), "{stderr}");
    assert!(stderr.contains(r#"lost: {__name__="latency_seconds", job="node"}"#), "{stderr}");
    let stream = dir.path().join("series.arrows");
    std::fs::write(&stream, told.stdout).unwrap();
    let rows = python.run(PRINT, &[stream.as_os_str()]);
    let first = "{'series': 0, 'metric': 'latency_seconds', 'labels': [('job', 'node')], \
                 'samples': 0, 'histograms': 0, 'min_time': None, 'max_time': None}";
    assert_eq!(rows.lines().next(), Some(first));
    assert_eq!(rows.lines().count(), 6);
}

#[test]
fn where_tables_cannot_go_is_said_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let written = Block::small(2).write(dir.path()).unwrap();
    let path = written.dir.to_str().unwrap();
    for (flags, part) in [
        (&["--format", "parquet"][..], "give --output DIRECTORY for all of them"),
        (&["--format", "parquet", "--output", path], "exists and is not an empty directory"),
        (&["--format", "csv", "--table", "series"], "--table needs '--format arrow' or"),
        (&["--format", "arrow", "-o", "/nowhere/tables"], "/nowhere/tables cannot be made"),
    ] {
        let told = underpass(&[&["tsdb", "dump", path], flags].concat());
        let stderr = String::from_utf8(told.stderr).unwrap();
        assert_eq!((told.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
