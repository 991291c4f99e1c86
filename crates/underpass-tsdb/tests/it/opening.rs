//! What it takes to open blocks: as much for a large one as for a small one.
//!
//! Source: proc(5), `/proc/thread-self/stat` (minflt) and `/proc/thread-self/io` (rchar), which
//! count this thread alone.

use std::fs;
use std::path::{Path, PathBuf};

use underpass_testkit::block::SparseBlock;
use underpass_testkit::disk::disk_dir;
use underpass_tsdb::{Backend, Block};

const BLOCKS: u64 = 1_000;

/// Its index is larger than what one page fault maps, 64 KiB.
const SMALL: SparseBlock = SparseBlock { metrics: 50, instances: 50, chunks: 4 };

/// Its index is nearly 20 times as large.
const LARGE: SparseBlock = SparseBlock { metrics: 100, instances: 500, chunks: 4 };

/// A thousand directories with the files of one block.
fn blocks(dir: &Path, block: SparseBlock) -> Vec<PathBuf> {
    let first = dir.join("first");
    block.write(&first).unwrap();
    let names = ["meta.json", "index", "tombstones", "chunks/000001"];
    let link = |number| {
        let path = dir.join(format!("{number:026}"));
        fs::create_dir_all(path.join("chunks")).unwrap();
        for name in names {
            fs::hard_link(first.join(name), path.join(name)).unwrap();
        }
        path
    };
    (0..BLOCKS).map(link).collect()
}

/// Page faults of this thread, and bytes that it has read by calls.
fn counted() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    // minflt is field 10; field 2 may hold spaces and ends with the last parenthesis.
    let faults = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(7).unwrap();
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    (faults.parse().unwrap(), read.parse().unwrap())
}

/// What opening all of them takes.
fn opened(paths: &[PathBuf], backend: Backend) -> (u64, u64) {
    let (faults, read) = counted();
    let blocks: Vec<_> = paths.iter().map(|path| Block::open(path, backend).unwrap()).collect();
    let (faults_after, read_after) = counted();
    assert!(blocks.iter().all(|block| block.damages().is_empty()));
    (faults_after - faults, read_after - read)
}

#[test]
fn a_thousand_large_blocks_are_opened_with_as_few_pages_as_small_ones() {
    let dirs = [(); 2].map(|()| tempfile::tempdir_in(disk_dir().unwrap()).unwrap());
    let [small, large] =
        [(&dirs[0], SMALL), (&dirs[1], LARGE)].map(|(dir, of)| blocks(dir.path(), of));
    let sizes = [&small, &large].map(|paths| paths[0].join("index").metadata().unwrap().len());
    assert!(sizes[0] > 100_000 && sizes[1] > sizes[0] * 15, "{sizes:?}");
    for backend in [Backend::Map, Backend::Pread] {
        opened(&small, backend);
        let [few, many] = [&small, &large].map(|paths| opened(paths, backend));
        assert!(many.0 <= few.0 + BLOCKS, "{backend:?}: {few:?} and {many:?} page faults");
        assert!(many.0 <= BLOCKS * 4, "{backend:?}: {many:?} page faults");
        assert!(many.1 <= few.1 + BLOCKS * 44, "{backend:?}: {few:?} and {many:?} bytes");
        assert!(many.1 <= BLOCKS * 4_096, "{backend:?}: {many:?} bytes");
    }
}
