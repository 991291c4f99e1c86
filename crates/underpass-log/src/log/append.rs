//! Appending: one pwritev(2) for all batches that go into the same segment.
//!
//! Bytes below the end that readers see are never written again: the kernel may be sending them, or
//! may have to send them again.

use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;

use rustix::io::{Errno, pwrite, pwritev};

use super::Log;
use super::ahead::Ahead;
use super::error::StorageError;
use super::incoming::{Incoming, Outcome};
use super::segment::SIZE_MAX;
use crate::batch::{self, HEADER_BYTES};
use crate::open_files::OpenFile;
use crate::producers::{SequenceFault, Verdict};
use crate::wire::ErrorCode;

/// Batches written by one call. Each takes two slices, and writev(2) allows 1024 (`IOV_MAX`).
const RUN_MAX: usize = 512;

/// The most bytes of a call, which ends at a multiple of it: then folios of that size fit. For a
/// longer one ext4 wants larger folios (6.16 and later), and where memory is in small pieces the
/// kernel moves others out of the way first: 1 MiB at a time took up to four times the CPU.
const PIECE_BYTES: usize = 128 << 10;

type Head = [u8; HEADER_BYTES];

impl Log {
    /// Appends `batches` at `now`, in ms since 1970, and notes for each what came of it. The last
    /// ones have no outcome where another segment has to wait until those before are durable, for
    /// their files are open until then; they are to be appended after that.
    ///
    /// # Errors
    ///
    /// If a file cannot be written or made. Batches that were not written are refused or have no
    /// outcome; those written before are there, and the log can be appended to again if the disk
    /// allows it.
    pub(crate) fn append(
        &mut self,
        batches: &mut [Incoming],
        now: i64,
    ) -> Result<(), StorageError> {
        self.save_epoch()?;
        let mut rest = batches;
        while !rest.is_empty() {
            let taken = self.assign(rest, now);
            if taken == 0 {
                if self.has_rolled() && self.is_crowded() {
                    return Ok(());
                }
                self.roll()?;
                continue;
            }
            let (run, behind) = rest.split_at_mut(taken);
            self.write(run)?;
            rest = behind;
        }
        Ok(())
    }

    /// Assigns offsets to as many batches as can be written by one call; their number. It is 0 if
    /// the first needs another segment.
    fn assign(&mut self, batches: &mut [Incoming], now: i64) -> usize {
        let append_time = if self.config.append_time { now } else { -1 };
        let segments = self.shared.segments();
        let Some(active) = segments.last() else { return 0 };
        let (mut size, mut next) = (u64::from(active.size), self.shared.end());
        for (at, Incoming { bytes, header, outcome }) in
            batches.iter_mut().take(RUN_MAX).enumerate()
        {
            let (base_offset, last) = (next, next + i64::from(header.last_offset_delta));
            *outcome = Some(match self.producers.check(header) {
                Verdict::New
                    if !active.takes(size, bytes.len(), last, &self.config)
                        || active.is_too_old(header.max_timestamp, &self.config) =>
                {
                    return at;
                }
                Verdict::New => Outcome::Appended { base_offset, append_time },
                Verdict::Duplicate { base_offset, append_time } => {
                    let last_offset = base_offset + i64::from(header.last_offset_delta);
                    Outcome::Duplicate { base_offset, last_offset, append_time }
                }
                Verdict::Refused(fault) => Outcome::Refused(code(fault)),
            });
            if matches!(outcome, Some(Outcome::Appended { .. })) {
                (header.base_offset, header.leader_epoch) = (base_offset, self.epoch);
                if self.config.append_time {
                    header.set_append_time(now);
                }
                self.producers.record(header, now);
                size += bytes.len() as u64;
                next = last + 1;
            }
        }
        batches.len().min(RUN_MAX)
    }

    /// Writes the batches of a run that have offsets, and shows them to readers.
    fn write(&mut self, run: &mut [Incoming]) -> Result<(), StorageError> {
        if !run.iter().any(Incoming::is_appended) {
            return Ok(());
        }
        if let Err(error) = self.write_files(run) {
            self.producers.roll_back();
            let end = self.shared.end();
            run.iter_mut().for_each(|batch| batch.refuse_from(end));
            return Err(error);
        }
        self.producers.commit();
        self.publish(run);
        Ok(())
    }

    fn write_files(&mut self, run: &mut [Incoming]) -> Result<(), StorageError> {
        let file = self.active_file()?;
        let mut heads = std::mem::take(&mut self.heads);
        heads.clear();
        heads.extend(run.iter_mut().filter(|batch| batch.is_appended()).map(head));
        let size = self.active_size();
        let mut slices = Vec::with_capacity(2 * heads.len());
        let appended = run.iter().filter(|batch| batch.is_appended());
        for (head, batch) in heads.iter().zip(appended) {
            slices.push(IoSlice::new(head));
            slices.push(IoSlice::new(&batch.bytes[HEADER_BYTES..]));
        }
        let size = u64::from(size);
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let segment_max = self.config.segment_bytes.min(SIZE_MAX);
        self.ahead.allocate(&file, size, size + bytes as u64, segment_max);
        let written = write_all(&file, &mut slices, size);
        self.heads = heads;
        written.map_err(|errno| self.cut_off(&file, errno))
    }

    /// Cuts off what a failed write left, so that the next one finds the end where it was.
    fn cut_off(&mut self, file: &File, errno: Errno) -> StorageError {
        let path = self.active_path();
        self.ahead = Ahead::default();
        match file.set_len(u64::from(self.active_size())) {
            Ok(()) => StorageError::new("append to", &path, errno),
            Err(error) => StorageError::new("cut off a failed write from", &path, error),
        }
    }

    /// Shows what was written to readers.
    fn publish(&self, run: &[Incoming]) {
        let mut segments = self.shared.segments_mut();
        let Some(active) = segments.last_mut() else { return };
        let mut end = self.shared.end();
        for batch in run.iter().filter(|batch| batch.is_appended()) {
            active.push(&batch.header);
            end = batch.header.last_offset() + 1;
        }
        active.note_end(end);
        self.shared.set_end(end);
    }

    /// The file that is appended to. It stays open until what is in it is durable, because another
    /// open of it might not be told of a failed write-back (fsync(2), EIO).
    pub(super) fn active_file(&mut self) -> Result<Arc<OpenFile>, StorageError> {
        if let Some(file) = &self.file {
            return Ok(file.open_file());
        }
        let (key, base) = {
            let segments = self.shared.segments();
            let active = segments.last().expect("a log has a segment");
            (active.key, active.base)
        };
        let file = self.shared.file(key, base)?;
        self.file = Some(self.shared.files.hold(Arc::clone(&file)));
        Ok(file)
    }
}

/// What a producer is told of a batch that does not continue what it wrote.
const fn code(fault: SequenceFault) -> ErrorCode {
    match fault {
        SequenceFault::Negative { .. } => ErrorCode::InvalidRecord,
        SequenceFault::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        SequenceFault::OutOfOrder { .. } | SequenceFault::NewEpoch { .. } => {
            ErrorCode::OutOfOrderSequenceNumber
        }
    }
}

/// The header of a batch as it is written.
fn head(batch: &mut Incoming) -> Head {
    let Incoming { bytes, header, .. } = batch;
    let mut head: Head = *bytes.first_chunk().expect("a batch that was checked has a header");
    batch::assign(&mut head, header.base_offset, header.leader_epoch);
    if header.has_append_time() {
        batch::write_append_time(&mut head, header, &bytes[HEADER_BYTES..]);
    }
    head
}

/// Writes all of `slices` at `offset`.
fn write_all(file: &File, slices: &mut [IoSlice<'_>], mut offset: u64) -> Result<(), Errno> {
    let mut slices = slices;
    while !slices.is_empty() {
        match write_piece(file, slices, offset) {
            // POSIX leaves open what 0 means for a file; without progress there is no end.
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Writes what fits into a piece: whole slices, or a part of the first.
fn write_piece(file: &File, slices: &[IoSlice<'_>], offset: u64) -> Result<usize, Errno> {
    let past = usize::try_from(offset % PIECE_BYTES as u64).unwrap_or(0);
    let (room, mut bytes) = (PIECE_BYTES - past, 0);
    let fits = |slice: &&IoSlice<'_>| {
        bytes += slice.len();
        bytes <= room
    };
    match slices.iter().take_while(fits).count() {
        0 => pwrite(file, &slices[0][..room], offset),
        count => pwritev(file, &slices[..count], offset),
    }
}
