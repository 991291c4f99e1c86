//! Tables, as DuckDB and pyarrow read them.

use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::Path;

use underpass_testkit::python::Python;
use underpass_testkit::{block, require};
use underpass_tsdb::columns::{ColumnsError, Folder, FolderError, Format, Tables};
use underpass_tsdb::dump::Event;
use underpass_tsdb::query::Selection;
use underpass_tsdb::time::TimeRange;
use underpass_tsdb::{Backend, Block};

const READ: &str = include_str!("columns/read.py");

/// The small block of the testkit. Floats are their bits, so that -0.0, NaN and the stale marker
/// are told apart.
const ROWS: &str = include_str!("columns/small.rows");

#[test]
fn duckdb_and_pyarrow_read_what_is_in_the_block() {
    let python = require!(Python::with_table_readers(Path::new(env!("CARGO_TARGET_TMPDIR"))));
    for (format, threads) in [
        (Format::Parquet, 1),
        (Format::Parquet, 3),
        (Format::ArrowFile, 3),
        (Format::ArrowStream, 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("tables");
        export(&small_block(dir.path()), &target, format, threads, |_: Event<'_>| {
            ControlFlow::Continue(())
        })
        .unwrap();
        let told = python.run(READ, &[target.as_os_str(), format.extension().as_ref()]);
        let (heads, rows): (Vec<_>, Vec<_>) =
            told.lines().partition(|line| line.contains(" has series int64, "));
        assert_eq!(rows.join("\n"), ROWS.trim_end(), "{format:?} by {threads}");
        for column in ["timestamp timestamp[ms, tz=UTC]", "labels map<string, string", "stale bool"]
        {
            assert!(heads.iter().any(|head| head.contains(column)), "{column}: {heads:?}");
        }
    }
}

/// Prints the rows of each row group and its first and last series, and checks that the values are
/// the numbers of their series.
const GROUPS: &str = r#"
import sys, pyarrow.parquet
file = pyarrow.parquet.ParquetFile(f"{sys.argv[1]}/samples.parquet")
for number in range(file.num_row_groups):
    group = file.metadata.row_group(number)
    series = group.column(0).statistics
    print(group.num_rows, series.min, series.max)
table = file.read()
assert table["series"].to_pylist() == [number for number in range(5000) for _ in range(2)]
assert table["value"].to_pylist() == table["series"].cast("double").to_pylist()
"#;

#[test]
fn row_groups_are_of_whole_series_and_the_same_by_several_threads() {
    let python = require!(Python::with_table_readers(Path::new(env!("CARGO_TARGET_TMPDIR"))));
    let dir = tempfile::tempdir().unwrap();
    let series = (0..5_000_u16).map(|number| {
        let floats = [(1_000, f64::from(number)), (2_000, f64::from(number))];
        let name = format!("{number:04}");
        block::Series::new(&[("__name__", "m"), ("n", &name)], vec![block::Chunk::floats(&floats)])
    });
    let written = block::Block::new(2, series.collect()).write(dir.path()).unwrap();
    let blocks = [Block::open(&written.dir, Backend::Map).unwrap()];
    let mut files = Vec::new();
    for threads in [1, 4] {
        let target = dir.path().join(threads.to_string());
        let all = |_: Event<'_>| ControlFlow::Continue(());
        export(&blocks, &target, Format::Parquet, threads, all).unwrap();
        let groups = python.run(GROUPS, &[target.as_os_str()]);
        assert_eq!(groups, "4096 0 2047\n4096 2048 4095\n1808 4096 4999\n");
        let names = ["samples", "histograms", "series"];
        let read = |name| std::fs::read(target.join(format!("{name}.parquet"))).unwrap();
        files.push(names.map(read));
    }
    assert_eq!(files[0], files[1]);
}

#[test]
fn a_folder_gets_its_name_when_its_tables_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (blocks, target) = (small_block(dir.path()), dir.path().join("tables"));
    let names = || {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for threads in [1, 3] {
        let mut told = 0;
        let stopped = export(&blocks, &target, Format::Parquet, threads, |_| {
            told += 1;
            if told == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let error = stopped.unwrap_err().downcast::<ColumnsError>().unwrap();
        assert!(matches!(error, ColumnsError::Stopped), "{error}");
        assert_eq!((told, names()), (2, before.clone()), "by {threads}");
    }
    let all = |_: Event<'_>| ControlFlow::Continue(());
    // An empty folder of that name is as good as none; a full one is not touched.
    std::fs::create_dir(&target).unwrap();
    export(&blocks, &target, Format::Parquet, 1, all).unwrap();
    let error = export(&blocks, &target, Format::Parquet, 1, all).unwrap_err();
    assert!(matches!(error.downcast::<FolderError>().unwrap(), FolderError::Exists(_)));
    assert_eq!(names().len(), before.len() + 1);
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 3);
}

fn small_block(dir: &Path) -> [Block; 1] {
    let written = block::Block::small(2).write(dir).unwrap();
    [Block::open(&written.dir, Backend::Map).unwrap()]
}

fn export(
    blocks: &[Block],
    target: &Path,
    format: Format,
    threads: usize,
    mut watch: impl FnMut(Event<'_>) -> ControlFlow<()>,
) -> anyhow::Result<()> {
    let folder = Folder::create(target)?;
    let mut tables =
        Tables::begin(format, |table| Ok::<_, anyhow::Error>(Some(folder.file(table, format)?)))?;
    let selection = Selection::new(blocks, Vec::new(), TimeRange::ALL);
    tables.write(&selection, NonZero::new(threads).unwrap(), &mut watch)?;
    tables.finish()?;
    folder.finish()?;
    Ok(())
}
