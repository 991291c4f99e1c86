//! The parts of an archive one after the other, and the segments of which a range of it is made.
//!
//! A file is opened when it is its turn, and must be what it was when the directory was walked
//! through, or the archive ends there. A large one leaves as any file does; small ones are read, so
//! that many leave in one slice. Nothing of a file outside of the range is touched.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use underpass::{COPY_MAX_BYTES, Stability};

use super::checksum::Checksums;
use super::walk::{Member, Members, short};
use super::{Archive, Format, tar, zip};
use crate::metadata_rules::MetadataRules;
use crate::representation::Representation;
use crate::root::{Found, Root, Wait};
use crate::sequence::Segment;

/// Bytes in memory that are sent as one slice, or a little more.
const SLICE_BYTES: usize = 64 * 1024;

/// An archive that is not made yet.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) format: Format,
    /// The name of the directory, with a slash; every member is beneath it.
    pub(super) prefix: Vec<u8>,
    pub(super) members: Members,
}

/// A part of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head(usize),
    Content(usize),
    Tail(usize),
    /// Of the directory at the end, which only a zip has.
    Line(usize),
    End,
}

/// Where in a layout something is.
#[derive(Debug, Clone, Copy)]
struct Place {
    next: Option<Part>,
    /// Where the next part begins.
    at: u64,
    /// Where the head begins of the member whose line is next.
    member_at: u64,
    /// Where the directory begins.
    directory_at: u64,
}

impl Place {
    const START: Self = Self { next: Some(Part::Head(0)), at: 0, member_at: 0, directory_at: 0 };
}

impl Layout {
    /// The length of all of it.
    pub(super) fn len(&self) -> u64 {
        let mut place = Place::START;
        while self.step(&mut place).is_some() {}
        place.at
    }

    /// Moves to the next part, and says where that is.
    fn step(&self, place: &mut Place) -> Option<(Part, Range<u64>)> {
        let part = place.next?;
        let len = self.part_len(part, place);
        let range = place.at..place.at.saturating_add(len);
        place.at = range.end;
        let is_last = |member| member + 1 == self.members.len();
        place.next = match part {
            Part::Head(member) => Some(Part::Content(member)),
            Part::Content(member) => Some(Part::Tail(member)),
            Part::Tail(member) if !is_last(member) => Some(Part::Head(member + 1)),
            Part::Tail(_) if self.format == Format::Zip => Some(Part::Line(0)),
            Part::Line(member) if !is_last(member) => Some(Part::Line(member + 1)),
            Part::Tail(_) | Part::Line(_) => Some(Part::End),
            Part::End => None,
        };
        match part {
            Part::Tail(_) => place.directory_at = range.end,
            Part::Line(member) => {
                let of = [Part::Head(member), Part::Content(member), Part::Tail(member)];
                place.member_at += of.iter().map(|part| self.part_len(*part, place)).sum::<u64>();
            }
            Part::Head(_) | Part::Content(_) | Part::End => {}
        }
        Some((part, range))
    }

    fn part_len(&self, part: Part, place: &Place) -> u64 {
        match part {
            Part::Content(member) => self.member(member).1.size,
            // A checksum takes as much room whatever it is.
            Part::Head(_) | Part::Tail(_) | Part::Line(_) | Part::End => {
                self.bytes(part, place, 0).len() as u64
            }
        }
    }

    fn member(&self, at: usize) -> (Vec<u8>, &Member) {
        let (path, member) = self.members.get(at).expect("parts are those of members");
        ([&self.prefix, path].concat(), member)
    }

    /// The bytes of a part that is not content.
    fn bytes(&self, part: Part, place: &Place, crc: u32) -> Vec<u8> {
        match (self.format, part) {
            (_, Part::Content(_)) | (Format::Tar, Part::Line(_)) => Vec::new(),
            (Format::Tar, Part::Head(member)) => {
                let (path, member) = self.member(member);
                tar::head(&path, member)
            }
            (Format::Tar, Part::Tail(member)) => vec![0; tar::padding(self.member(member).1.size)],
            (Format::Tar, Part::End) => tar::END.to_vec(),
            (Format::Zip, Part::Head(member)) => {
                let (path, member) = self.member(member);
                zip::head(&path, member)
            }
            (Format::Zip, Part::Tail(member)) => zip::descriptor(self.member(member).1, crc),
            (Format::Zip, Part::Line(member)) => {
                let (path, member) = self.member(member);
                zip::line(&path, member, crc, place.member_at)
            }
            (Format::Zip, Part::End) => {
                let members = self.members.len() as u64;
                zip::end(members, place.directory_at, place.at - place.directory_at)
            }
        }
    }
}

/// What a range of an archive is made of. Making it may wait.
pub(super) struct Segments {
    layout: Arc<Layout>,
    files: Files,
    place: Place,
    range: Range<u64>,
    /// Given back when it was sent.
    _room: OwnedSemaphorePermit,
    /// What comes before the file that comes next.
    memory: Vec<u8>,
    file: Option<Segment>,
}

/// The files of a directory that is archived.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) root: Arc<Root>,
    /// The path of the directory.
    pub(super) path: Vec<u8>,
    pub(super) stability: Stability,
    pub(super) checksums: Arc<Checksums>,
}

impl Segments {
    pub(super) fn new(archive: Archive, range: Range<u64>) -> Self {
        let Archive { layout, files, room, .. } = archive;
        let (layout, place, memory) = (Arc::new(layout), Place::START, Vec::new());
        Self { layout, files, place, range, _room: room, memory, file: None }
    }

    /// Adds what is wanted of a part.
    fn add(&mut self, part: Part, before: Place, wanted: Range<u64>) -> io::Result<()> {
        let layout = Arc::clone(&self.layout);
        if let Part::Content(at) = part {
            let (path, member) = layout.members.get(at).expect("parts are those of members");
            if wanted.end - wanted.start > COPY_MAX_BYTES as u64 {
                let file = self.files.represent(path, member).map_err(of(path))?;
                self.file = Some(Segment::File(Arc::new(file), wanted));
                return Ok(());
            }
            let read = self.files.read(path, member, wanted, &mut self.memory);
            return read.map_err(of(path));
        }
        let crc = match part {
            Part::Tail(at) | Part::Line(at) if layout.format == Format::Zip => {
                let (path, member) = layout.members.get(at).expect("parts are those of members");
                self.files.checksum(path, member).map_err(of(path))?
            }
            Part::Head(_) | Part::Content(_) | Part::Tail(_) | Part::Line(_) | Part::End => 0,
        };
        let index = |at| usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = layout.bytes(part, &before, crc);
        self.memory.extend(&bytes[index(wanted.start)..index(wanted.end)]);
        Ok(())
    }
}

impl Iterator for Segments {
    type Item = io::Result<Segment>;

    fn next(&mut self) -> Option<io::Result<Segment>> {
        while self.file.is_none() && self.memory.len() < SLICE_BYTES {
            let before = self.place;
            let layout = Arc::clone(&self.layout);
            let Some((part, range)) = layout.step(&mut self.place) else { break };
            let wanted = range.start.max(self.range.start)..range.end.min(self.range.end);
            if wanted.start >= wanted.end {
                if range.start >= self.range.end {
                    break;
                }
                continue;
            }
            let wanted = wanted.start - range.start..wanted.end - range.start;
            if let Err(error) = self.add(part, before, wanted) {
                return Some(Err(error));
            }
        }
        if self.memory.is_empty() {
            return self.file.take().map(Ok);
        }
        Some(Ok(Segment::Memory(Bytes::from(std::mem::take(&mut self.memory)))))
    }
}

impl Files {
    /// A member that leaves as a file does.
    fn represent(&self, path: &[u8], member: &Member) -> io::Result<Representation> {
        let file = self.open(path)?;
        let looked_at = file.try_clone()?;
        // Its fields are not sent.
        let (name, rules) = (Path::new(""), MetadataRules::default());
        let made = match Representation::of(file, name, self.stability, &rules) {
            Ok(made) => made,
            Err(_) => {
                let file = looked_at.try_clone()?;
                Representation::read(file, name, self.stability, &rules)
                    .map_err(io::Error::other)?
            }
        };
        // After the mapping, whose own look the policy about changes is held against.
        check(looked_at.as_fd(), member)?;
        if made.len() != Some(member.size) {
            return Err(changed());
        }
        Ok(made)
    }

    /// Reads a part of a member.
    fn read(
        &self,
        path: &[u8],
        member: &Member,
        part: Range<u64>,
        into: &mut Vec<u8>,
    ) -> io::Result<()> {
        let file = self.open(path)?;
        let start = into.len();
        into.resize(start + usize::try_from(part.end - part.start).unwrap_or(usize::MAX), 0);
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut into[start..], part.start)?;
        check(file.as_fd(), member)
    }

    fn checksum(&self, path: &[u8], member: &Member) -> io::Result<u32> {
        if member.size == 0 {
            return Ok(0);
        }
        self.checksums.of(member, || {
            let file = self.open(path)?;
            let crc = super::checksum::read(&file, member.size)?;
            check(file.as_fd(), member)?;
            Ok(crc)
        })
    }

    fn open(&self, path: &[u8]) -> io::Result<std::fs::File> {
        match self.root.open_beneath(&[&self.path, path].concat(), Wait::Allowed) {
            Ok(Found::File(file, _)) => Ok(file),
            Ok(Found::Directory(_)) => Err(changed()),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// Whether an open file is what it was.
fn check(file: BorrowedFd<'_>, member: &Member) -> io::Result<()> {
    let is_same = short(&rustix::fs::fstat(file)?) == member.state;
    if is_same { Ok(()) } else { Err(changed()) }
}

fn changed() -> io::Error {
    io::Error::other("changed while the archive was sent")
}

/// An error of a member.
fn of(path: &[u8]) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::other(format!("{}: {error}", String::from_utf8_lossy(path)))
}
