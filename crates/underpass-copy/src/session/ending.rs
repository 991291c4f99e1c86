//! How a copy ends: offsets, names, the end of a stream, and errors that come late.
//!
//! Source: close(2), NOTES; fsync(2).

use std::fs::File;
use std::io;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use underpass::ErrorKind;
use underpass_client::{ClientError, is_answer, is_closed};

use super::{Outcome, Session};
use crate::drive::Drive;
use crate::endpoint::Endpoint;
use crate::error::CopyError;
use crate::inlet::{FileInlet, Inlet};
use crate::outlet::Outlet;
use crate::request::{Request, is_numbered};
use crate::stop::Stop;
use crate::stream;

impl Session {
    /// Prefers what a server says about a failed PUT to the error of the failed call.
    pub(super) fn judge(
        &self,
        moved: Result<u64, Stop>,
        drive: &Drive<'_>,
        outlet: &mut Outlet<'_>,
        outcome: &Outcome,
    ) -> Result<u64, CopyError> {
        let stop = match moved {
            Ok(moved) => return Ok(moved),
            Err(stop) => stop,
        };
        let Outlet::Put(put) = outlet else { return Err(self.stopped(stop, drive, outcome)) };
        let errno = match &stop {
            Stop::Call(_, error) if is_answer(error) => return Err(put.refusal().into()),
            Stop::Call(_, error) => Errno::from_io_error(error),
            Stop::Engine(underpass::Error { kind: ErrorKind::Io(errno), .. }) => Some(*errno),
            Stop::Engine(_) | Stop::Signal(_) => None,
        };
        if errno.is_some_and(is_closed)
            // If the source was reset, the server still waits for the rest.
            && put.has_answered()
            && let answer = put.refusal()
            && matches!(answer, ClientError::Status { .. } | ClientError::Redirect { .. })
        {
            return Err(answer.into());
        }
        Err(self.stopped(stop, drive, outcome))
    }

    /// The next user of an open file finds its offset after what was copied, also if that was
    /// not all.
    pub(super) fn set_offsets(
        &self,
        inlet: &Inlet<'_>,
        outlet: &Outlet<'_>,
        moved: u64,
    ) -> Result<(), CopyError> {
        let Request { source, sink, .. } = &self.request;
        let set = |file: &File, offset, end: &Endpoint| {
            rustix::fs::seek(file, SeekFrom::Start(offset))
                .map(|_| ())
                .map_err(|errno| CopyError::open("set the offset of", end, errno))
        };
        if let Outlet::Open(file, at) = outlet {
            set(file, at + moved, sink)?;
        }
        match inlet {
            Inlet::File(FileInlet { file, start, moves_offset: true, .. }) => {
                set(file, start + moved, source)
            }
            Inlet::File(_) | Inlet::Stream(_) | Inlet::Http(_) => Ok(()),
        }
    }

    /// Finishes the sink: its late errors, its name, the end of the stream.
    pub(super) fn settle(
        &self,
        drive: &mut Drive<'_>,
        outlet: Outlet<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), CopyError> {
        let Request { sink, fsync, .. } = &self.request;
        let cannot = |error: io::Error| CopyError::open("finish", sink, error);
        match outlet {
            Outlet::Target(target, _) if is_numbered(&self.request) => {
                let made = target.name_numbered(*fsync, &self.next_number).map_err(cannot)?;
                outcome.made = Some(made);
                Ok(())
            }
            Outlet::Target(target, _) => {
                let path = target.path().display().to_string();
                for lost in target.finish(*fsync).map_err(cannot)? {
                    drive.note(format!("note: {path} {lost}"));
                }
                Ok(())
            }
            Outlet::Open(file, _) => {
                let synced = if *fsync { file.sync_all() } else { Ok(()) };
                synced.and_then(|()| stream::flush(&file)).map_err(cannot)
            }
            Outlet::Stream(stream) => stream.finish(*fsync).map_err(cannot),
            Outlet::Put(mut put) => Ok(put.finish()?),
        }
    }
}
