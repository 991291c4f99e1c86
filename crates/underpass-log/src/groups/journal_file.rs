//! The file `group-offsets.log`: entries one after another, each with its length and checksum.
//!
//! ```text
//! magic (8)  [length (4)  CRC-32C (4)  entry (length)]...
//! ```
//!
//! A crash leaves any part of what was being written. What was acknowledged was synced before that,
//! so the first entry that is not whole, or does not have its checksum, ends the journal: it and
//! what follows are cut off. Zeros, as a file system may leave them, have the checksum of an entry
//! without bytes, but no entry is empty.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::entry::Entry;
use super::offsets::Offsets;
use crate::whole_file;

/// The format and its version.
const MAGIC: [u8; 8] = *b"upoffs\0\x01";

/// Bytes in front of an entry.
const HEAD_BYTES: usize = 8;

/// A journal is not written anew for less.
const REWRITE_FROM_BYTES: u64 = 1 << 20;

/// It is when it has this many times the bytes that count.
const REWRITE_RATIO: u64 = 4;

/// Why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// It is something else, or of a later version.
    #[error(
        "{0} does not begin as a journal of group offsets does: put it back from a copy, or move \
         it away, which forgets all committed offsets"
    )]
    Magic(PathBuf),
    /// It cannot be read or written.
    #[error("{0} cannot be opened")]
    Io(PathBuf, #[source] io::Error),
}

/// What was cut off when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Where the first bad entry was.
    pub(super) at: u64,
    /// Bytes from there to the end.
    pub(super) bytes: u64,
}

/// The open file.
#[derive(Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
    file: File,
    /// Where the next entry goes.
    end: u64,
    /// Whether what is on the disk may differ from what was written: after an fdatasync that
    /// failed, the kernel takes the pages for clean, and a second one succeeds without writing
    /// them (fsync(2), ERRORS, EIO). Only writing everything anew helps.
    is_broken: bool,
}

impl JournalFile {
    /// Opens or creates the journal, and reads what it says.
    pub(super) fn open(path: &Path) -> Result<(Self, Offsets, Option<Cut>), JournalError> {
        let failed = |error| JournalError::Io(path.to_owned(), error);
        if !path.try_exists().map_err(failed)? {
            whole_file::replace(path, &MAGIC).map_err(failed)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        // Pages that fdatasync(2) could not write count as clean, and may be cached still. Entries
        // behind them would be lost with them, so what is read has to be what is on the disk.
        fadvise(&file, 0, None, Advice::DontNeed).map_err(|errno| failed(errno.into()))?;
        let mut from = BufReader::new(&file);
        let mut magic = [0; MAGIC.len()];
        match from.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(failed(error));
            }
            _ => return Err(JournalError::Magic(path.to_owned())),
        }
        let mut offsets = Offsets::default();
        let mut end = MAGIC.len() as u64;
        while let Some((entry, bytes)) = read_entry(&mut from, length - end).map_err(failed)? {
            offsets.apply(entry);
            end += bytes;
        }
        let journal = Self { path: path.to_owned(), file, end, is_broken: false };
        let cut = (end < length).then_some(Cut { at: end, bytes: length - end });
        if cut.is_some() {
            journal.cut().and_then(|()| journal.file.sync_all()).map_err(failed)?;
        }
        Ok((journal, offsets, cut))
    }

    /// Whether it has to be written anew before anything is appended.
    pub(super) const fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Writes entries and has them on the disk. If that fails, none of them is in the journal.
    pub(super) fn append<'e>(
        &mut self,
        entries: impl IntoIterator<Item = &'e Entry>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        entries.into_iter().for_each(|entry| frame(entry, &mut bytes));
        if let Err(error) = self.file.write_all_at(&bytes, self.end) {
            self.is_broken = self.cut().is_err();
            return Err(error);
        }
        if let Err(error) = self.file.sync_data() {
            self.is_broken = true;
            return Err(error);
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.end)
    }

    /// Whether most of it is out of date.
    pub(super) fn is_mostly_dead(&self, offsets: &Offsets) -> bool {
        self.end > REWRITE_FROM_BYTES && self.end / REWRITE_RATIO > offsets.bytes()
    }

    /// A journal that holds what counts and nothing else.
    pub(super) fn bytes_of(offsets: &Offsets) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        offsets.entries().for_each(|entry| frame(&entry, &mut bytes));
        bytes
    }

    /// Puts such a journal in the place of this one.
    pub(super) fn rewrite(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The name may be the new file's already when that fails, and this one has none.
        self.is_broken = true;
        whole_file::replace(&self.path, bytes)?;
        self.file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        self.end = self.file.seek(SeekFrom::End(0))?;
        self.is_broken = false;
        Ok(())
    }
}

/// Reads the next entry, and says how many bytes it took; `None` at the end, or at what is not one.
fn read_entry(from: &mut impl Read, left: u64) -> io::Result<Option<(Entry, u64)>> {
    let Some(body_max) = left.checked_sub(HEAD_BYTES as u64) else { return Ok(None) };
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head)?;
    let [a, b, c, d, crc @ ..] = head;
    let length = u32::from_be_bytes([a, b, c, d]);
    let is_whole = u64::from(length) <= body_max;
    let Some(length) = usize::try_from(length).ok().filter(|_| is_whole) else { return Ok(None) };
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    let entry = Some(body).filter(|body| crc32c::crc32c(body) == u32::from_be_bytes(crc));
    let entry = entry.and_then(|body| Entry::decode(&body));
    Ok(entry.map(|entry| (entry, (HEAD_BYTES + length) as u64)))
}

fn frame(entry: &Entry, to: &mut Vec<u8>) {
    let start = to.len();
    to.extend([0; HEAD_BYTES]);
    entry.encode(to);
    let body = &to[start + HEAD_BYTES..];
    let (length, crc) = (u32::try_from(body.len()).unwrap_or(u32::MAX), crc32c::crc32c(body));
    to[start..start + 4].copy_from_slice(&length.to_be_bytes());
    to[start + 4..start + HEAD_BYTES].copy_from_slice(&crc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::groups::entry::{Committed, TopicOffsets};
    use crate::uuid::Uuid;

    fn commit(offset: i64) -> Entry {
        let metadata = "x".repeat(usize::try_from(offset % 5).unwrap());
        let committed = Committed { offset, leader_epoch: 0, metadata };
        let partitions = vec![(0, committed)];
        let topic = TopicOffsets { name: "t".to_owned(), id: Uuid([1; 16]), partitions };
        Entry::Commit { group: "g".to_owned(), time: 1, topics: vec![topic] }
    }

    fn offset(offsets: &Offsets) -> Option<i64> {
        offsets.group("g").map(|group| group.topics["t"][&0].committed.offset)
    }

    fn to_usize(place: u64) -> usize {
        usize::try_from(place).unwrap()
    }

    /// A journal of these commits, and where each of them ends.
    fn journal(path: &Path, commits: &[i64]) -> Vec<u64> {
        let (mut file, mut offsets, _) = JournalFile::open(path).unwrap();
        let mut ends = vec![file.end];
        for &at in commits {
            file.append(&[commit(at)]).unwrap();
            offsets.apply(commit(at));
            ends.push(file.end);
        }
        ends
    }

    #[test]
    fn the_bytes_are_those_that_the_head_of_this_module_shows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let (mut file, _, _) = JournalFile::open(&path).unwrap();
        file.append(&[Entry::DeleteGroup { group: "g".to_owned() }]).unwrap();
        let bytes = fs::read(&path).unwrap();
        // The checksum was computed by another implementation of CRC-32C.
        assert_eq!(bytes, b"upoffs\0\x01\0\0\0\x06\xc5\x38\xd8\xae\x03\0\0\0\x01g");
    }

    #[test]
    fn a_journal_cut_or_garbled_at_any_byte_keeps_what_comes_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let ends = journal(&path, &[10, 11, 12, 13]);
        let whole = fs::read(&path).unwrap();
        let first = to_usize(ends[1]);
        for at in first..whole.len() {
            let before = ends.iter().rposition(|end| *end <= at as u64).unwrap();
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            let mut zeroed = whole[..at].to_vec();
            zeroed.resize(whole.len() + 100, 0);
            for damaged in [whole[..at].to_vec(), flipped, zeroed] {
                fs::write(&path, &damaged).unwrap();
                let (_, offsets, cut) = JournalFile::open(&path).unwrap();
                // Zeros where there were zeros change nothing.
                let is_kept = |end: &&u64| damaged.starts_with(&whole[..to_usize(**end)]);
                let read = ends.iter().filter(is_kept).count() - 1;
                assert!(read >= before);
                assert_eq!(offset(&offsets), Some([10, 11, 12, 13][read - 1]), "byte {at}");
                let left = damaged.len() as u64 - ends[read];
                assert_eq!(cut, (left > 0).then_some(Cut { at: ends[read], bytes: left }));
                assert_eq!(fs::metadata(&path).unwrap().len(), ends[read]);
            }
        }
    }

    #[test]
    fn what_is_appended_after_a_cut_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let ends = journal(&path, &[10, 11]);
        File::options().write(true).open(&path).unwrap().set_len(ends[2] - 1).unwrap();
        journal(&path, &[12]);
        let (_, offsets, cut) = JournalFile::open(&path).unwrap();
        assert_eq!((offset(&offsets), cut), (Some(12), None));
    }

    #[test]
    fn a_length_that_lies_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        for head in [*b"\xff\xff\xff\xff\0\0\0\0", [0; 8]] {
            fs::write(&path, [&MAGIC[..], &head, b"rest"].concat()).unwrap();
            let (_, offsets, cut) = JournalFile::open(&path).unwrap();
            assert_eq!((offsets, cut), (Offsets::default(), Some(Cut { at: 8, bytes: 12 })));
        }
    }

    #[test]
    fn what_is_not_a_journal_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        for bytes in [&b""[..], b"upoffs\0\x02", b"something else"] {
            fs::write(&path, bytes).unwrap();
            let error = JournalFile::open(&path).unwrap_err();
            assert!(matches!(error, JournalError::Magic(_)), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_journal_that_is_mostly_out_of_date_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let (mut file, mut offsets, _) = JournalFile::open(&path).unwrap();
        assert!(!file.is_mostly_dead(&offsets));
        let entries: Vec<_> = (0..20_000).map(commit).collect();
        file.append(&entries).unwrap();
        entries.into_iter().for_each(|entry| offsets.apply(entry));
        assert!(file.is_mostly_dead(&offsets));
        file.rewrite(&JournalFile::bytes_of(&offsets)).unwrap();
        assert!(!file.is_mostly_dead(&offsets));
        assert!(fs::metadata(&path).unwrap().len() < 200);
        file.append(&[commit(20_000)]).unwrap();
        let (_, offsets, cut) = JournalFile::open(&path).unwrap();
        assert_eq!((offset(&offsets), cut), (Some(20_000), None));
    }

    #[test]
    fn after_a_failed_write_that_cannot_be_taken_back_all_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let (mut file, mut offsets, _) = JournalFile::open(&path).unwrap();
        file.append(&[commit(10)]).unwrap();
        offsets.apply(commit(10));
        // A file that was opened for reading takes neither bytes nor a length.
        file.file = File::open(&path).unwrap();
        file.append(&[commit(11)]).unwrap_err();
        assert!(file.is_broken());
        file.rewrite(&JournalFile::bytes_of(&offsets)).unwrap();
        assert!(!file.is_broken());
        file.append(&[commit(12)]).unwrap();
        let (_, offsets, cut) = JournalFile::open(&path).unwrap();
        assert_eq!((offset(&offsets), cut), (Some(12), None));
    }
}
