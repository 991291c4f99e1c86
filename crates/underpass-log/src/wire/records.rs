//! The record batches of a message: as they came, or in the file they are sent from.

use std::sync::Arc;

use bytes::Bytes;

use super::field::{Field, Form};
use super::{FileRange, Malformed, Reader, Writer};

/// Record batches.
#[derive(Debug, Clone, Default)]
pub(crate) enum Records {
    /// None at all, said as no bytes: clients need not know null here. Either is read.
    #[default]
    None,
    /// In memory; of a frame that was read, a part of it.
    Memory(Bytes),
    /// In a file.
    File(FileRange),
}

impl Records {
    /// How many bytes.
    pub(crate) const fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(file) => file.len(),
        }
    }
}

/// Two of files are the same if they are the same bytes of the same open file.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory(one), Self::Memory(two)) => one == two,
            (Self::File(one), Self::File(two)) => {
                Arc::ptr_eq(&one.file, &two.file) && one.range == two.range
            }
            (one, two) => one.len() == 0 && two.len() == 0,
        }
    }
}

impl Field for Records {
    fn read(reader: &mut Reader<'_>, form: Form) -> Result<Self, Malformed> {
        match reader.length(false, form.is_flexible)? {
            None | Some(0) => Ok(Self::None),
            Some(len) => reader.slice(len).map(Self::Memory),
        }
    }

    fn write(&self, writer: &mut Writer, form: Form) {
        writer.put_length(Some(self.len()), false, form.is_flexible);
        match self {
            Self::None => {}
            Self::Memory(bytes) => writer.put(bytes),
            Self::File(file) => writer.refer(file.clone()),
        }
    }
}
