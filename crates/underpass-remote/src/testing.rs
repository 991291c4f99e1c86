//! Objects that a test fills, for those who read them.

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::ObjectError;
use crate::extents::{Extents, Piece};
use crate::fill::Fill;
use crate::head::Head;
use crate::object::Object;
use crate::plan::OriginFacts;

/// What an origin said that has these fields.
#[must_use]
pub fn head(fields: &[(&str, &str)]) -> Head {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Head { status: 200, fields: fields.collect(), asked: Vec::new(), len: 0, answered_ms: 0 }
}

/// What fills an object: the test.
pub struct Feed {
    object: Arc<Object>,
    fills: Arc<Mutex<Vec<Fill>>>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("object", &self.object).finish_non_exhaustive()
    }
}

impl Feed {
    /// An object of this length in `file`, of which nothing is there.
    ///
    /// # Errors
    ///
    /// Those of ftruncate(2).
    pub fn new(file: OwnedFd, len: u64) -> io::Result<Self> {
        rustix::fs::ftruncate(&file, len)?;
        let fills: Arc<Mutex<Vec<Fill>>> = Arc::default();
        let asked = Arc::clone(&fills);
        let ask = move |fill| asked.lock().unwrap_or_else(PoisonError::into_inner).push(fill);
        let object = Object::new(file, Extents::none(len), OriginFacts::UNKNOWN, Box::new(ask));
        Ok(Self { object, fills })
    }

    /// The object.
    #[must_use]
    pub const fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// These bytes came, which had not.
    ///
    /// # Errors
    ///
    /// Those of pwrite(2).
    pub fn give(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let (rest, place) = (&bytes[done..], at + done as u64);
            done += rustix::io::pwrite(self.object.file(), rest, place)?;
        }
        let (mut start, mut rest, mut pieces) = (at, bytes, Vec::new());
        while !rest.is_empty() {
            let len = usize::try_from(self.object.cell(start).end - start).unwrap_or(usize::MAX);
            let (piece, more) = rest.split_at(len.min(rest.len()));
            let crc32c = crc32c::crc32c(piece);
            pieces.push(Piece { start, len: u32::try_from(piece.len()).expect("a cell"), crc32c });
            (start, rest) = (start + piece.len() as u64, more);
        }
        self.object.publish(&pieces, None);
        Ok(())
    }

    /// No byte comes any more.
    pub fn cut(&self, why: ObjectError) {
        self.object.cut(why);
    }

    /// What its readers had asked for.
    #[must_use]
    pub fn asked(&self) -> Vec<Range<u64>> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Fill::range).collect()
    }
}
