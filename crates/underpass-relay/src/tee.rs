//! Keeping a copy of what is echoed: tee(2) into a second pipe, and from there into a file.
//!
//! tee(2) copies references, so the bytes are copied once, into the page cache of the file. The
//! file may have to wait for its disk, and so is written on the blocking pool. Several
//! connections write to one file, each chunk at its own offset: chunks stay whole and
//! those of one connection in order, but between them others may come.
//!
//! Source: tee(2).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::task::spawn_blocking;
use underpass::{Error, ErrorKind, Pipe, Sink};

/// A file that takes what is echoed.
#[derive(Debug)]
pub(crate) struct Tee {
    file: File,
    /// Where the next chunk goes.
    end: AtomicU64,
    failed: OnceLock<io::Error>,
}

impl Tee {
    /// Makes the file, or empties it.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self { file, end: AtomicU64::new(0), failed: OnceLock::new() })
    }

    /// What first kept it from taking something.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.failed.get().map(|error| io::Error::new(error.kind(), error.to_string()))
    }

    /// Writes what a pipe holds, and gives the pipe back.
    pub(crate) async fn keep(self: &Arc<Self>, mut pipe: Pipe) -> io::Result<Pipe> {
        self.keep_by(move |tee| {
            let at = tee.end.fetch_add(pipe.held(), Ordering::Relaxed);
            match pipe.empty_into(Sink::file(&tee.file, at)) {
                Ok(_) => Ok(pipe),
                Err(Error { kind: ErrorKind::Io(errno), .. }) => Err(errno.into()),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Writes bytes, and gives them back.
    pub(crate) async fn keep_bytes(self: &Arc<Self>, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        self.keep_by(move |tee| {
            let at = tee.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            tee.file.write_all_at(&bytes, at).map(|()| bytes)
        })
        .await
    }

    async fn keep_by<T: Send + 'static>(
        self: &Arc<Self>,
        write: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let tee = Arc::clone(self);
        let written = spawn_blocking(move || {
            let written = write(&tee);
            if let Err(error) = &written {
                let copy = io::Error::new(error.kind(), error.to_string());
                if tee.failed.set(copy).is_ok() {
                    tracing::error!("what is echoed is not kept any more: {error}");
                }
            }
            written
        });
        written.await.map_err(io::Error::other)?
    }
}
