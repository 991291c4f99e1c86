//! How values of each type are said: numbers, strings, bytes, arrays.
//!
//! A flexible version says lengths as varints, one more than they are, and 0 for null. Before, a
//! string has two bytes of length and everything else four, and -1 is null.
//!
//! Source: KIP-482; Kafka's protocol guide, "Protocol Primitive Types".

use bytes::Bytes;

use super::reader::Fault;
use super::{ErrorCode, Malformed, Reader, Writer};
use crate::uuid::Uuid;

/// The longest string that Kafka reads, in either form.
const STRING_MAX: usize = i16::MAX as usize;

/// The version in which something is said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub(crate) version: i16,
    /// Whether lengths are compact and there are tagged fields.
    pub(crate) is_flexible: bool,
    /// Whether the field at hand may be null.
    pub(crate) is_nullable: bool,
}

impl Form {
    /// `version` of a message that is flexible from another on.
    pub(crate) const fn new(version: i16, flexible_from: i16) -> Self {
        Self { version, is_flexible: version >= flexible_from, is_nullable: true }
    }

    /// The same for a field that may be null or not.
    pub(crate) const fn nullable(self, is_nullable: bool) -> Self {
        Self { is_nullable, ..self }
    }
}

/// A value of a message.
pub(crate) trait Field: Sized {
    fn read(reader: &mut Reader<'_>, form: Form) -> Result<Self, Malformed>;
    fn write(&self, writer: &mut Writer, form: Form);
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl Field for $type {
            fn read(reader: &mut Reader<'_>, _: Form) -> Result<Self, Malformed> {
                Ok(Self::from_be_bytes(reader.array()?))
            }

            fn write(&self, writer: &mut Writer, _: Form) {
                writer.put(&self.to_be_bytes());
            }
        }
    )+};
}

numbers!(i8, i16, i32, i64);

impl Field for bool {
    fn read(reader: &mut Reader<'_>, form: Form) -> Result<Self, Malformed> {
        Ok(i8::read(reader, form)? != 0)
    }

    fn write(&self, writer: &mut Writer, form: Form) {
        i8::from(*self).write(writer, form);
    }
}

impl Field for Uuid {
    fn read(reader: &mut Reader<'_>, _: Form) -> Result<Self, Malformed> {
        Ok(Self(reader.array()?))
    }

    fn write(&self, writer: &mut Writer, _: Form) {
        writer.put(&self.0);
    }
}

impl Field for ErrorCode {
    fn read(reader: &mut Reader<'_>, form: Form) -> Result<Self, Malformed> {
        Ok(Self::from_number(i16::read(reader, form)?))
    }

    fn write(&self, writer: &mut Writer, form: Form) {
        self.number().write(writer, form);
    }
}

/// A value that has a length in front.
pub(crate) trait Counted: Field + Default {
    /// Whether its length has two bytes, where it is not compact.
    const IS_SHORT: bool = false;

    fn read_content(reader: &mut Reader<'_>, len: usize, form: Form) -> Result<Self, Malformed>;
    fn len(&self) -> usize;
    fn write_content(&self, writer: &mut Writer, form: Form);
}

impl<T: Counted> Field for Option<T> {
    fn read(reader: &mut Reader<'_>, form: Form) -> Result<Self, Malformed> {
        match reader.length(T::IS_SHORT, form.is_flexible)? {
            Some(len) => T::read_content(reader, len, form).map(Some),
            None if form.is_nullable => Ok(None),
            None => Err(reader.fault(Fault::Null)),
        }
    }

    /// In a version that has no null, nothing is empty.
    fn write(&self, writer: &mut Writer, form: Form) {
        match self {
            Some(value) => write_some(value, writer, form),
            None if form.is_nullable => writer.put_length(None, T::IS_SHORT, form.is_flexible),
            None => write_some(&T::default(), writer, form),
        }
    }
}

fn read_some<T: Counted>(reader: &mut Reader<'_>, form: Form) -> Result<T, Malformed> {
    let len = reader.length(T::IS_SHORT, form.is_flexible)?;
    let len = len.ok_or_else(|| reader.fault(Fault::Null))?;
    T::read_content(reader, len, form)
}

fn write_some<T: Counted>(value: &T, writer: &mut Writer, form: Form) {
    writer.put_length(Some(value.len() as u64), T::IS_SHORT, form.is_flexible);
    value.write_content(writer, form);
}

impl Field for String {
    fn read(reader: &mut Reader<'_>, form: Form) -> Result<Self, Malformed> {
        read_some(reader, form)
    }

    fn write(&self, writer: &mut Writer, form: Form) {
        write_some(self, writer, form);
    }
}

impl Counted for String {
    const IS_SHORT: bool = true;

    fn read_content(reader: &mut Reader<'_>, len: usize, _: Form) -> Result<Self, Malformed> {
        if len > STRING_MAX {
            return Err(reader.fault(Fault::LongString(len)));
        }
        let utf8 = reader.fault(Fault::Utf8);
        let text = std::str::from_utf8(reader.take(len)?).map_err(|_| utf8)?;
        reader.charge(len)?;
        Ok(text.to_owned())
    }

    fn len(&self) -> usize {
        self.floor_char_boundary(STRING_MAX)
    }

    /// What no length can say is cut off: a message of an error, never a name.
    fn write_content(&self, writer: &mut Writer, _: Form) {
        writer.put(&self.as_bytes()[..Counted::len(self)]);
    }
}

impl Field for Bytes {
    fn read(reader: &mut Reader<'_>, form: Form) -> Result<Self, Malformed> {
        read_some(reader, form)
    }

    fn write(&self, writer: &mut Writer, form: Form) {
        write_some(self, writer, form);
    }
}

impl Counted for Bytes {
    fn read_content(reader: &mut Reader<'_>, len: usize, _: Form) -> Result<Self, Malformed> {
        reader.slice(len)
    }

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn write_content(&self, writer: &mut Writer, _: Form) {
        writer.put(self);
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(reader: &mut Reader<'_>, form: Form) -> Result<Self, Malformed> {
        read_some(reader, form)
    }

    fn write(&self, writer: &mut Writer, form: Form) {
        write_some(self, writer, form);
    }
}

impl<T: Field> Counted for Vec<T> {
    fn read_content(reader: &mut Reader<'_>, len: usize, form: Form) -> Result<Self, Malformed> {
        let mut elements = reader.elements(len)?;
        for _ in 0..len {
            elements.push(T::read(reader, form)?);
        }
        Ok(elements)
    }

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn write_content(&self, writer: &mut Writer, form: Form) {
        self.iter().for_each(|element| element.write(writer, form));
    }
}
