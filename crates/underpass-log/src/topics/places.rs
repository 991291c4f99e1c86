//! The directories of partitions: what they are called, whose they are, how they go.
//!
//! A partition that is deleted is renamed first, so that its name is free, and unlinked then. What
//! a send still holds open stays readable until the send ends.
//!
//! Source: Kafka's `PartitionMetadataFile.java`; rename(2); unlink(2).

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::name;
use crate::uuid::Uuid;
use crate::whole_file;

/// Names the topic of a directory, as in Kafka's.
const METADATA: &str = "partition.metadata";

/// Ends the name of what is being unlinked. A partition's directory ends with its number.
const DELETED: &str = ".delete";

/// Where a partition is.
pub(super) fn partition(data: &Path, topic: &str, index: i32) -> PathBuf {
    data.join(format!("{topic}-{index}"))
}

/// Which partition a directory is called after.
pub(super) fn parse(directory: &str) -> Option<(&str, i32)> {
    let (topic, index) = directory.rsplit_once('-')?;
    let is_number = index.bytes().all(|digit| digit.is_ascii_digit());
    let is_canonical = index == "0" || !index.starts_with('0');
    let index = index.parse().ok().filter(|_| is_number && is_canonical)?;
    name::check(topic).ok().map(|()| (topic, index))
}

/// Writes down whose directory it is.
pub(super) fn write_owner(directory: &Path, topic: Uuid) -> io::Result<()> {
    let text = format!("version: 0\ntopic_id: {topic}");
    whole_file::replace(&directory.join(METADATA), text.as_bytes())
}

/// Whose directory it is; `None` if it does not say.
fn owner(directory: &Path) -> Option<Uuid> {
    let text = fs::read_to_string(directory.join(METADATA)).ok()?;
    text.lines().find_map(|line| line.strip_prefix("topic_id: "))?.trim().parse().ok()
}

/// Frees the name of a deleted topic's partition, if its directory is still there.
pub(super) fn set_aside(data: &Path, topic: &str, id: Uuid, index: i32) -> io::Result<()> {
    let directory = partition(data, topic, index);
    if owner(&directory) != Some(id) {
        return Ok(());
    }
    fs::rename(directory, aside_path(data, id, index))
}

/// Where the directory of a deleted topic's partition is set aside.
pub(super) fn aside_path(data: &Path, id: Uuid, index: i32) -> PathBuf {
    data.join(format!("{id}-{index}{DELETED}"))
}

/// Whether a directory was set aside, as its name says.
pub(super) fn is_set_aside(name: &str) -> bool {
    name.ends_with(DELETED)
}

/// Unlinks what was set aside.
pub(super) fn remove(directories: &[PathBuf]) {
    for directory in directories {
        match fs::remove_dir_all(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(
                "{} is of a deleted topic and stays until the next start: {error}",
                directory.display()
            ),
        }
    }
}

/// The partitions of a topic that are set aside.
pub(super) fn aside(data: &Path, id: Uuid, partitions: i32) -> Vec<PathBuf> {
    (0..partitions).map(|index| aside_path(data, id, index)).collect()
}

/// Whether a directory has no record, so that nothing is lost with it.
pub(super) fn has_no_record(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_log = Path::new(&entry.file_name()).extension().is_some_and(|name| name == "log");
        if is_log && entry.metadata()?.len() > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_called_after_its_partition_and_nothing_else_is() {
        assert_eq!(partition(Path::new("/d"), "a-1", 20), Path::new("/d/a-1-20"));
        let longest = "x".repeat(249);
        assert_eq!(parse(&format!("{longest}-10000")), Some((longest.as_str(), 10_000)));
        assert_eq!(parse("a-1-20"), Some(("a-1", 20)));
        for other in
            ["a", "a-", "a-01", "a--1x", "-0", "lost+found", "..-0", "a-+1", "a-99999999999"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
        let deleted = format!("{}-0{DELETED}", Uuid::random().unwrap());
        assert_eq!((parse(&deleted), is_set_aside(&deleted)), (None, true));
        assert!(!is_set_aside("a.delete-0"));
    }

    #[test]
    fn only_the_deleted_topics_own_directory_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (Uuid::random().unwrap(), Uuid::random().unwrap());
        let directory = partition(dir.path(), "t", 0);
        fs::create_dir(&directory).unwrap();
        set_aside(dir.path(), "t", old, 0).unwrap();
        assert!(directory.exists(), "it does not say whose it is");
        write_owner(&directory, new).unwrap();
        set_aside(dir.path(), "t", old, 0).unwrap();
        assert!(directory.exists(), "it is of a later topic");
        set_aside(dir.path(), "t", new, 0).unwrap();
        assert!(!directory.exists());
        assert!(aside(dir.path(), new, 1)[0].exists());
        set_aside(dir.path(), "t", new, 0).unwrap();
        remove(&aside(dir.path(), new, 2));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_owner_is_written_as_kafka_does() {
        let dir = tempfile::tempdir().unwrap();
        write_owner(dir.path(), Uuid(*b"2E78EA57052D436B")).unwrap();
        let text = fs::read_to_string(dir.path().join("partition.metadata")).unwrap();
        assert_eq!(text, "version: 0\ntopic_id: MkU3OEVBNTcwNTJENDM2Qg");
    }

    #[test]
    fn a_record_is_a_byte_of_a_segment() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("00000000000000000000.log", "");
        write("00000000000000000000.index", "some");
        assert!(has_no_record(dir.path()).unwrap());
        write("00000000000000000007.log", "x");
        assert!(!has_no_record(dir.path()).unwrap());
    }
}
