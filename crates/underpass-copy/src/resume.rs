//! Continuing where an earlier copy stopped, after comparing what is there.
//!
//! If the source is a file, all that is there is compared; with a server's file, only the last
//! 64 KiB. A stream cannot be compared, and a note says so. What is there is in `TARGET.part`; a
//! target that is shorter than the source is taken for such a part.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use underpass_client::{Body, Interrupt, Range, Validator};

use crate::asking::{self, Answers, Remote};
use crate::drive::Drive;
use crate::endpoint::Endpoint;
use crate::error::{CopyError, Names, Usage};
use crate::inlet::Inlet;
use crate::pieces::Pieces;
use crate::range_reader::RangeReader;
use crate::request::{Request, flag};
use crate::stop::Stop;
use crate::target::part_name;

/// How much of what is there is asked of a server again, to compare.
pub(crate) const OVERLAP_BYTES: u64 = 64 * 1024;

/// The extended attribute of a part with the validator that it was begun with.
const VALIDATOR: &str = "user.underpass.validator";

/// Longer validators are not kept.
const VALIDATOR_BYTES_MAX: usize = 256;

const BLOCK_BYTES: usize = 256 * 1024;

/// What an earlier copy left.
#[derive(Debug)]
pub(crate) struct Partial {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Bytes before the first gap.
    pub(crate) have: u64,
    /// All ranges, if several connections wrote them and there are gaps.
    pub(crate) pieces: Option<Pieces>,
}

impl Partial {
    /// Looks for it. With `in_place` there is no part.
    pub(crate) fn find(target: &Path, in_place: bool) -> Option<Self> {
        let part = part_name(target);
        let there = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            found.is_file().then_some(found.len())
        };
        let (path, len) = match there(&part).filter(|_| !in_place) {
            Some(len) => (part, len),
            None => (target.to_owned(), there(target)?),
        };
        let pieces = Pieces::of_part(&path);
        let have = pieces.as_ref().map_or(len, Pieces::prefix).min(len);
        Some(Self { path, have, pieces: pieces.filter(|pieces| !pieces.is_prefix()) })
    }

    /// Bytes that are there.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.as_ref().map_or(self.have, Pieces::bytes)
    }

    /// What [`keep_validator`] kept.
    fn validator(&self) -> Option<Validator> {
        if self.bytes() == 0 {
            return None;
        }
        let mut value = vec![0; VALIDATOR_BYTES_MAX];
        let len = rustix::fs::getxattr(&self.path, VALIDATOR, &mut value[..]).ok()?;
        value.truncate(len);
        Some(Validator::read(std::str::from_utf8(&value).ok()?))
    }

    /// Renames a target that is a part, so that it can be continued as one; returns whether it was.
    pub(crate) fn rename_to_part(&self, target: &Path) -> Result<bool, CopyError> {
        let part = part_name(target);
        if self.path == part {
            return Ok(false);
        }
        std::fs::rename(&self.path, &part)
            .map(|()| true)
            .map_err(|error| CopyError::open("rename", self.path.display(), error))
    }

    /// Asks a server for what is missing, and for some bytes before it, to compare.
    pub(crate) fn ask_for_the_rest<'i>(
        &self,
        remote: Remote<'_>,
        range: Range,
        (drive, interrupt): (&mut Drive<'_>, &'i Interrupt),
    ) -> Result<Body<'i>, CopyError> {
        let Remote { url, .. } = remote;
        let (first, last) = match range {
            Range::Whole => (0, None),
            Range::From { first, last } => (first, last),
            Range::Suffix(_) => {
                let why = "a suffix has no known start; name its first byte";
                return Err(flag("--resume", &Endpoint::Url(url.clone()), why));
            }
        };
        let overlap = self.have.min(OVERLAP_BYTES);
        let rest = Range::From { first: first + self.have - overlap, last };
        let stored = self.validator();
        let (have, path) = (self.have, self.path.display().to_string());
        let source_name = url.to_string();
        let if_range = stored.as_ref();
        let body = match asking::ask(remote, rest, if_range, (drive, interrupt), &|_| Ok(())) {
            Ok(body) => body,
            Err(CopyError::Usage(Usage::Range { len, .. })) => {
                return Err(CopyError::Longer { path, source_name, have, len });
            }
            Err(error) => return Err(error),
        };
        let is_same = |stored| body.validator.as_ref().is_some_and(|now| now.matches(stored));
        if !stored.as_ref().is_none_or(is_same) {
            return Err(CopyError::NewVersion { url: source_name, path });
        }
        Ok(body.cut(url, rest)?)
    }

    /// Compares what is there with the source, and leaves the source at the first missing byte.
    pub(crate) fn check(
        &self,
        drive: &mut Drive<'_>,
        inlet: &mut Inlet<'_>,
        request: &Request,
        names: &Names,
    ) -> Result<(), CopyError> {
        let (have, source, interrupt) = (self.have, names.from.as_str(), drive.interrupt);
        let path = self.path.display().to_string();
        if self.pieces.is_some() && !matches!(inlet, Inlet::Http(_)) {
            return Err(CopyError::Pieces { path, source_name: source.to_owned() });
        }
        let longer = |len| {
            let (path, source_name) = (path.clone(), source.to_owned());
            CopyError::Longer { path, source_name, have, len }
        };
        let answer = match (inlet, &request.source) {
            (Inlet::File(file), _) => {
                if file.len < have {
                    return Err(longer(file.len));
                }
                let (at, end) = (file.start, file.start + have);
                let answer =
                    self.compare(interrupt, 0, &mut RangeReader { file: &file.file, at, end });
                file.start += have;
                file.len -= have;
                answer
            }
            (Inlet::Http(body), Endpoint::Url(url)) => {
                let total = body.remaining().map(|len| have - have.min(OVERLAP_BYTES) + len);
                if self.pieces.as_ref().is_some_and(|pieces| Some(pieces.total) != total) {
                    return Err(CopyError::NewVersion { url: source.to_owned(), path });
                }
                let from = have - have.min(OVERLAP_BYTES);
                if body.remaining().is_some_and(|len| from + len < have) {
                    return Err(longer(from + body.remaining().unwrap_or(0)));
                }
                let is_sure = self.validator().is_some_and(|stored| stored.is_strong());
                if from > 0 && !is_sure {
                    drive.note(format!(
                        "{source} gave no strong validator when {path} was begun: assuming that \
                         the bytes before {from} are still the same"
                    ));
                }
                let begun = body.place.at;
                let remote = Remote { client: &request.client, url };
                match self.compare(interrupt, from, &mut Answers { remote, drive, body }) {
                    // It has ended, and where was not known.
                    Err(_)
                        if body.remaining().is_none() && matches!(body.read(&mut [0]), Ok(0)) =>
                    {
                        return Err(longer(from + body.place.at - begun));
                    }
                    answer => answer,
                }
            }
            (Inlet::Stream(stream), _) if stream.is_kept() => {
                let answer = self.compare(interrupt, 0, &mut stream.waiting(interrupt));
                if matches!(&answer, Err(Stop::Call(_, error)) if is_end(error)) {
                    return Err(longer(stream.offset().unwrap_or(0)));
                }
                answer
            }
            (Inlet::Stream(_) | Inlet::Http(_), _) => {
                drive.note(format!(
                    "the {have} bytes in {path} cannot be compared with {source}, which can be \
                     read only once; it must continue at byte {have}"
                ));
                Ok(None)
            }
        };
        let stopped = |stop| CopyError::stopped(stop, names.clone(), drive.done, drive.total);
        match answer.map_err(stopped)? {
            None => Ok(()),
            Some(at) => Err(CopyError::Differs { path, source_name: source.to_owned(), at, have }),
        }
    }

    /// Compares the bytes after `from` with what `reader` yields.
    fn compare(
        &self,
        interrupt: &Interrupt,
        from: u64,
        reader: &mut dyn Read,
    ) -> Result<Option<u64>, Stop> {
        let file = File::open(&self.path).map_err(Stop::when("opening the existing part"))?;
        compare(interrupt, &mut RangeReader { file: &file, at: from, end: self.have }, reader)
    }
}

fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// Compares what is there with what `reader` yields.
///
/// The first byte that differs, if any does; an error is one of reading.
pub(crate) fn compare(
    interrupt: &Interrupt,
    ours: &mut RangeReader<'_>,
    reader: &mut dyn Read,
) -> Result<Option<u64>, Stop> {
    let (mut one, mut other) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    loop {
        let at = ours.at;
        let n = ours.read(&mut one).map_err(Stop::when("reading the existing part"))?;
        if n == 0 {
            return Ok(None);
        }
        reader.read_exact(&mut other[..n]).map_err(Stop::when("reading the source to compare"))?;
        if let Some(signal) = interrupt.signal() {
            return Err(Stop::Signal(signal));
        }
        let pairs = one[..n].iter().zip(&other[..n]);
        if let Some(wrong) = pairs.into_iter().position(|(one, other)| one != other) {
            return Ok(Some(at + wrong as u64));
        }
    }
}

/// Stores a server's validator with a part, to be compared when the part is continued.
///
/// A file system without extended attributes stores nothing; then only the overlap is compared.
pub(crate) fn keep_validator(part: &File, validator: &Validator) {
    let validator = validator.write();
    if validator.len() > VALIDATOR_BYTES_MAX {
        return;
    }
    let kept = rustix::fs::fsetxattr(part, VALIDATOR, validator.as_bytes(), XattrFlags::empty());
    debug_assert_ne!(kept, Err(Errno::BADF), "a part is open");
}
