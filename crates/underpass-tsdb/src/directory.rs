//! What is under a path: blocks, and what else holds samples.
//!
//! The path may be a block, a directory of blocks, or the data directory of Prometheus, Thanos or
//! Mimir. Prometheus has its blocks side by side; Thanos' receivers and Mimir have a directory for
//! each tenant, and tenants are never mixed.
//!
//! Source: Prometheus, tsdb/db.go; Thanos, pkg/receive; Mimir, pkg/storage/bucket.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What was found under a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    /// The blocks, in the order of their names, which is that of their making.
    pub blocks: Vec<PathBuf>,
    /// What holds samples that are in no block yet, or was left out for another reason.
    pub left_out: Vec<LeftOut>,
}

/// Something under a path that is not read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
    /// Why it is not read.
    pub reason: Reason,
}

/// Why something is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `wal`, `wbl` and `chunks_head`: samples of the head, which are in no block yet.
    Head,
    /// A block that was not written to its end, or is being deleted.
    Temporary,
    /// A directory named like a block that has no `meta.json`, which is written last.
    Unfinished,
}

/// Why no blocks were found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The directory cannot be read.
    #[error("{}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// There is no block in it.
    #[error(
        "there is no block in {}: nothing in it is named like one and has an index",
        path.display()
    )]
    Nothing {
        /// The directory.
        path: PathBuf,
        /// What is there instead.
        left_out: Vec<LeftOut>,
    },
    /// There are blocks of several tenants.
    #[error(
        "{} has blocks of {} tenants: give the path of one of them, such as {}",
        path.display(),
        tenants.len(),
        tenants[0].display()
    )]
    Tenants {
        /// The directory.
        path: PathBuf,
        /// Their directories; at least two.
        tenants: Vec<PathBuf>,
    },
}

impl Directory {
    /// Finds the blocks of `path`: of itself, of the directories in it, or of the one directory in
    /// it that has blocks.
    ///
    /// # Errors
    ///
    /// [`FindError`].
    pub fn find(path: &Path) -> Result<Self, FindError> {
        if has_index(path) || is_finished(path) {
            return Ok(Self { blocks: vec![path.to_owned()], left_out: Vec::new() });
        }
        let found = Self::of(path)?;
        if !found.blocks.is_empty() {
            return Ok(found);
        }
        let below = Self::below(path)?;
        match below.len() {
            0 => Err(FindError::Nothing { path: path.to_owned(), left_out: found.left_out }),
            1 => Ok(below.into_iter().map(|(_, found)| found).next().unwrap_or_default()),
            _ => {
                let tenants = below.into_iter().map(|(tenant, _)| tenant).collect();
                Err(FindError::Tenants { path: path.to_owned(), tenants })
            }
        }
    }

    /// The blocks side by side in `path`.
    fn of(path: &Path) -> Result<Self, FindError> {
        let mut found = Self::default();
        for entry in entries(path)? {
            let name = entry.file_name().map(|name| name.to_string_lossy().into_owned());
            let reason = match name.as_deref().unwrap_or_default() {
                "wal" | "wbl" | "chunks_head" => Reason::Head,
                name if name.contains(".tmp") => Reason::Temporary,
                name if !is_ulid(name) => continue,
                _ if is_finished(&entry) => {
                    found.blocks.push(entry);
                    continue;
                }
                _ => Reason::Unfinished,
            };
            let bytes = bytes_below(&entry);
            if reason == Reason::Head && bytes == 0 {
                continue;
            }
            found.left_out.push(LeftOut { path: entry, bytes, reason });
        }
        Ok(found)
    }

    /// The directories in `path` that have blocks, up to two levels below it.
    fn below(path: &Path) -> Result<Vec<(PathBuf, Self)>, FindError> {
        let mut with_blocks = Vec::new();
        for entry in entries(path)? {
            for place in std::iter::once(entry.clone()).chain(entries(&entry).unwrap_or_default()) {
                // One that may not be read holds nothing for us; its siblings may.
                let found = Self::of(&place).unwrap_or_default();
                if !found.blocks.is_empty() {
                    with_blocks.push((place, found));
                }
            }
        }
        Ok(with_blocks)
    }
}

/// The directories in a directory, by name.
fn entries(path: &Path) -> Result<Vec<PathBuf>, FindError> {
    let refused = |source| FindError::Read { path: path.to_owned(), source };
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(refused)? {
        let entry = entry.map_err(refused)?.path();
        // Blocks may be links to directories.
        if entry.is_dir() {
            entries.push(entry);
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

/// `meta.json` is written last, by Prometheus and to a bucket. One whose index is gone since is
/// damaged, and not left out.
fn is_finished(path: &Path) -> bool {
    path.join("meta.json").exists()
}

fn has_index(path: &Path) -> bool {
    path.join("index").is_file()
}

/// 26 characters of Crockford's base 32, the first of them at most 7.
fn is_ulid(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() && !b"ILOUilou".contains(&byte);
    name.len() == 26 && name.bytes().all(is_digit) && name.as_bytes()[0] <= b'7'
}

/// Bytes of the files in a directory and below it, as their sizes say.
#[must_use]
pub fn bytes_below(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(stat) if stat.is_dir() => bytes_below(&entry.path()),
        Ok(stat) => stat.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "01HX0000000000000000000001";
    const TWO: &str = "01HX0000000000000000000002";

    fn make(root: &Path, block: &str) {
        fs::create_dir_all(root.join(block)).unwrap();
        fs::write(root.join(block).join("index"), "").unwrap();
        fs::write(root.join(block).join("meta.json"), "{}").unwrap();
    }

    #[test]
    fn blocks_of_a_data_directory_are_found_and_the_head_is_told() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        make(root, TWO);
        make(root, ONE);
        fs::create_dir_all(root.join("wal/checkpoint.00000001")).unwrap();
        fs::write(root.join("wal/checkpoint.00000001/00000000"), "1234").unwrap();
        fs::write(root.join("wal/00000002"), "123").unwrap();
        fs::create_dir(root.join("01HX0000000000000000000003.tmp-for-deletion")).unwrap();
        fs::create_dir(root.join("wbl")).unwrap();
        fs::create_dir(root.join("01HX0000000000000000000004")).unwrap();
        fs::create_dir(root.join("lost+found")).unwrap();
        let found = Directory::find(root).unwrap();
        assert_eq!(found.blocks, [root.join(ONE), root.join(TWO)]);
        let head = found.left_out.iter().filter(|left| left.reason == Reason::Head);
        assert_eq!(head.map(|left| left.bytes).sum::<u64>(), 7);
        let reasons: Vec<Reason> = found.left_out.iter().map(|left| left.reason).collect();
        assert_eq!(reasons, [Reason::Temporary, Reason::Unfinished, Reason::Head]);
    }

    #[test]
    fn a_block_is_found_as_itself_whatever_its_name() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), "copied");
        make(root.path(), ONE);
        for name in ["copied", ONE] {
            let block = root.path().join(name);
            fs::remove_file(block.join("meta.json")).unwrap();
            assert_eq!(Directory::find(&block).unwrap().blocks, [block]);
        }
    }

    #[test]
    fn a_block_whose_index_is_gone_is_not_left_out() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        make(root, ONE);
        make(root, TWO);
        fs::remove_file(root.join(ONE).join("index")).unwrap();
        let found = Directory::find(root).unwrap();
        assert_eq!(found.blocks, [root.join(ONE), root.join(TWO)]);
    }

    #[test]
    fn the_one_tenant_is_found_and_several_are_never_mixed() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        make(&root.join("tsdb/one"), ONE);
        assert_eq!(Directory::find(root).unwrap().blocks, [root.join("tsdb/one").join(ONE)]);
        make(&root.join("tsdb/two"), TWO);
        let error = Directory::find(root).unwrap_err().to_string();
        let first = root.join("tsdb/one");
        assert!(error.contains("2 tenants") && error.contains(first.to_str().unwrap()), "{error}");
    }

    #[test]
    fn an_empty_directory_is_told_so() {
        let root = tempfile::tempdir().unwrap();
        let error = Directory::find(root.path()).unwrap_err();
        assert!(matches!(error, FindError::Nothing { .. }));
        let error = Directory::find(&root.path().join("missing")).unwrap_err();
        assert!(matches!(error, FindError::Read { .. }));
    }
}
