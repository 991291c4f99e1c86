//! Closing the last segment, and starting another.

use std::fs::File;
use std::sync::Arc;

use super::Log;
use super::error::StorageError;
use super::segment::Segment;
use super::sync::Sealed;
use crate::open_files::OpenFile;

impl Log {
    /// Starts another segment at the end of the log.
    pub(super) fn roll(&mut self) -> Result<(), StorageError> {
        let segment = Segment::new(self.shared.end());
        let file = self.make_file(&segment)?;
        self.give_back()?;
        let producers = self.producers.encode();
        let next = segment.base;
        let closed = {
            let mut segments = self.shared.segments_mut();
            let closed = segments.last_mut().map(|active| {
                let index = active.index.as_mut().map(super::Index::seal).unwrap_or_default();
                let index = Arc::new(index);
                self.shared.files.keep_index(active.key, Arc::clone(&index));
                active.index = None;
                (active.base, index, active.times.seal())
            });
            segments.push(segment);
            closed
        };
        self.unsynced.names = true;
        let file = self.file.replace(self.shared.files.hold(file));
        if let Some((base, index, times)) = closed {
            self.unsynced.sealed.push(Sealed { base, file, index, times, next, producers });
        }
        Ok(())
    }

    /// Gives back what is allocated behind the end of the last segment.
    pub(super) fn give_back(&mut self) -> Result<(), StorageError> {
        let ahead = std::mem::take(&mut self.ahead);
        if ahead.is_some() {
            let size = self.active_size().into();
            let file = self.active_file()?;
            ahead.give_back(&file, size);
        }
        Ok(())
    }

    /// Makes the file of the last segment.
    pub(super) fn make_active_file(&mut self) -> Result<(), StorageError> {
        let file = {
            let segments = self.shared.segments();
            let active = segments.last().expect("a log has a segment");
            self.make_file(active)?
        };
        self.file = Some(self.shared.files.hold(file));
        self.unsynced.names = true;
        Ok(())
    }

    fn make_file(&self, segment: &Segment) -> Result<Arc<OpenFile>, StorageError> {
        let dir = self.shared.dir();
        let path = segment.path(&dir);
        let make = || File::options().read(true).write(true).create_new(true).open(&path);
        let file = self.shared.files.with_room(make);
        let file = file.map_err(|error| StorageError::new("make", &path, error))?;
        let file = Arc::new(OpenFile::from(file));
        self.shared.files.keep(segment.key, Arc::clone(&file));
        Ok(file)
    }
}
