//! Where the running kernel keeps its fields: the BTF type information it carries.
//!
//! Offsets differ between versions and builds; a program with offsets baked in reads garbage on
//! another kernel and does not notice. Members of anonymous structs and unions count as members
//! of what encloses them, as in C.
//!
//! Source: `Documentation/bpf/btf.rst`; `/sys/kernel/btf/vmlinux`, readable by all.

use std::collections::HashMap;
use std::path::Path;

/// Where Linux shows its own type information (`CONFIG_DEBUG_INFO_BTF`).
pub const KERNEL: &str = "/sys/kernel/btf/vmlinux";

/// What functions that programs may call are called, by custom.
const FUNCTION_PREFIX: &str = "bpf_";

const MAGIC: u16 = 0xeb9f;

/// Members of anonymous structs are at most this deep in the kernel's types.
const NESTING_MAX: u32 = 16;

/// Why type information cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The file cannot be read.
    #[error("{path} cannot be read; the kernel needs CONFIG_DEBUG_INFO_BTF")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not BTF, or not of version 1, or ends too early.
    #[error("the type information is malformed at byte {at}")]
    Malformed {
        /// Offset in the file.
        at: usize,
    },
    /// The kernel has no such member.
    #[error("this kernel has no {of}.{member}")]
    Absent {
        /// The struct.
        of: String,
        /// The member.
        member: String,
    },
}

/// The structs and unions of one kernel.
#[derive(Debug)]
pub struct Btf {
    types: Vec<Type>,
    by_name: HashMap<String, u32>,
    /// Of those that programs may call.
    functions: HashMap<String, i32>,
}

#[derive(Debug, Default)]
struct Type {
    size_bytes: u32,
    members: Vec<Member>,
    /// The type that a typedef or a qualifier stands for.
    alias_of: Option<u32>,
}

#[derive(Debug)]
struct Member {
    name: String,
    of_type: u32,
    offset_bits: u32,
    is_bit_field: bool,
}

impl Btf {
    /// Reads the running kernel's.
    ///
    /// # Errors
    ///
    /// [`BtfError::Read`] or [`BtfError::Malformed`].
    pub fn of_kernel() -> Result<Self, BtfError> {
        let bytes = std::fs::read(Path::new(KERNEL))
            .map_err(|source| BtfError::Read { path: KERNEL.into(), source })?;
        Self::parse(&bytes)
    }

    /// Reads type information.
    ///
    /// # Errors
    ///
    /// [`BtfError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        let mut header = Cursor { bytes, at: 0 };
        let (magic, version) = (header.u16()?, header.u8()?);
        if magic != MAGIC || version != 1 {
            return Err(BtfError::Malformed { at: 0 });
        }
        header.u8()?;
        let header_len = header.u32()? as usize;
        let (types_at, types_len) = (header.u32()? as usize, header.u32()? as usize);
        let (strings_at, strings_len) = (header.u32()? as usize, header.u32()? as usize);
        let section = |at: usize, len: usize| {
            let start = header_len.checked_add(at)?;
            bytes.get(start..start.checked_add(len)?)
        };
        let malformed = || BtfError::Malformed { at: header_len };
        let types = section(types_at, types_len).ok_or_else(malformed)?;
        let strings = section(strings_at, strings_len).ok_or_else(malformed)?;
        let mut btf = Self {
            types: vec![Type::default()],
            by_name: HashMap::new(),
            functions: HashMap::new(),
        };
        let mut cursor = Cursor { bytes: types, at: 0 };
        while cursor.at < types.len() {
            btf.read_type(&mut cursor, strings)?;
        }
        Ok(btf)
    }

    fn read_type(&mut self, cursor: &mut Cursor<'_>, strings: &[u8]) -> Result<(), BtfError> {
        let (name, word, size_or_type) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let (count, kind, has_bit_fields) = (word & 0xffff, word >> 24 & 0x1f, word >> 31 == 1);
        let mut read = Type::default();
        match kind {
            // INT, VAR, DECL_TAG: one word more.
            1 | 14 | 17 => cursor.skip(4)?,
            // PTR, FWD, FLOAT.
            2 | 7 | 16 => {}
            // FUNC.
            12 => {
                let name = string(strings, name)?;
                if name.starts_with(FUNCTION_PREFIX) {
                    let id = i32::try_from(self.types.len()).unwrap_or(0);
                    self.functions.insert(name, id);
                }
            }
            // ARRAY.
            3 => cursor.skip(12)?,
            // STRUCT, UNION.
            4 | 5 => {
                read.size_bytes = size_or_type;
                for _ in 0..count {
                    let (name, of_type, offset) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
                    let bits = if has_bit_fields { offset & 0x00ff_ffff } else { offset };
                    read.members.push(Member {
                        name: string(strings, name)?,
                        of_type,
                        offset_bits: bits,
                        is_bit_field: has_bit_fields && offset >> 24 != 0,
                    });
                }
                let id = u32::try_from(self.types.len()).unwrap_or(0);
                self.by_name.entry(string(strings, name)?).or_insert(id);
            }
            // ENUM, FUNC_PROTO: two words each; DATASEC, ENUM64: three.
            6 | 13 => cursor.skip(count as usize * 8)?,
            15 | 19 => cursor.skip(count as usize * 12)?,
            // TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG.
            8..=11 | 18 => read.alias_of = Some(size_or_type),
            _ => return Err(BtfError::Malformed { at: cursor.at }),
        }
        self.types.push(read);
        Ok(())
    }

    /// Offset of a member, in bytes; `member` may be a path such as `__sk_common.skc_family`.
    ///
    /// # Errors
    ///
    /// [`BtfError::Absent`] if there is none, or if it is a bit field.
    pub fn offset(&self, of: &str, member: &str) -> Result<i16, BtfError> {
        let absent = || BtfError::Absent { of: of.into(), member: member.into() };
        let mut id = *self.by_name.get(of).ok_or_else(absent)?;
        let mut bits = 0;
        for name in member.split('.') {
            let (offset, of_type) = self.find(id, name, NESTING_MAX).ok_or_else(absent)?;
            (bits, id) = (bits + offset, of_type);
        }
        i16::try_from(bits / 8).map_err(|_| absent())
    }

    /// Size of a struct in bytes.
    ///
    /// # Errors
    ///
    /// [`BtfError::Absent`] if there is no such struct.
    pub fn size(&self, of: &str) -> Result<i16, BtfError> {
        let found = self.by_name.get(of).and_then(|&id| self.types.get(id as usize));
        found
            .and_then(|found| i16::try_from(found.size_bytes).ok())
            .ok_or_else(|| BtfError::Absent { of: of.into(), member: "(itself)".into() })
    }

    /// The number of a struct, as programs name it.
    pub(crate) fn struct_id(&self, of: &str) -> Option<i32> {
        self.by_name.get(of).and_then(|&id| i32::try_from(id).ok())
    }

    /// The number of a function that programs may call; its name begins with `bpf_`.
    pub(crate) fn function_id(&self, name: &str) -> Option<i32> {
        self.functions.get(name).copied()
    }

    fn find(&self, id: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        let mut of = self.types.get(id as usize)?;
        while let Some(alias) = of.alias_of {
            of = self.types.get(alias as usize)?;
        }
        for member in &of.members {
            if member.name == name {
                return (!member.is_bit_field).then_some((member.offset_bits, member.of_type));
            }
            if member.name.is_empty()
                && depth > 0
                && let Some((offset, of_type)) = self.find(member.of_type, name, depth - 1)
            {
                return Some((member.offset_bits + offset, of_type));
            }
        }
        None
    }
}

fn string(strings: &[u8], at: u32) -> Result<String, BtfError> {
    let rest = strings.get(at as usize..).ok_or(BtfError::Malformed { at: at as usize })?;
    let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
    Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
}

struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BtfError> {
        let rest = self.bytes.get(self.at..);
        let word = rest.and_then(<[u8]>::first_chunk).copied();
        let word = word.ok_or(BtfError::Malformed { at: self.at })?;
        self.at += N;
        Ok(word)
    }

    fn skip(&mut self, len: usize) -> Result<(), BtfError> {
        self.at += len;
        if self.at <= self.bytes.len() { Ok(()) } else { Err(BtfError::Malformed { at: self.at }) }
    }

    fn u32(&mut self) -> Result<u32, BtfError> {
        self.take().map(u32::from_ne_bytes)
    }

    fn u16(&mut self) -> Result<u16, BtfError> {
        self.take().map(u16::from_ne_bytes)
    }

    fn u8(&mut self) -> Result<u8, BtfError> {
        self.take().map(u8::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; union { struct { int b; int c; }; int d; }; int bits:3; }` and
    /// `typedef struct outer t; struct holder { int x; t inner; }`, written by hand.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0c\0d\0bits\0t\0holder\0x\0inner\0";
        let name = |text: &str| {
            let needle = [b"\0", text.as_bytes(), b"\0"].concat();
            let at = strings.windows(needle.len()).position(|window| window == needle);
            u32::try_from(at.unwrap() + 1).unwrap()
        };
        let kind = |kind: u32, count: u32| kind << 24 | count;
        let with_bits = 1 << 31;
        #[rustfmt::skip]
        let types: Vec<u32> = vec![
            name("int"), kind(1, 0), 4, 32,                                       // 1
            0, kind(4, 2), 8, name("b"), 1, 0, name("c"), 1, 32,                  // 2
            0, kind(5, 2), 8, 0, 2, 0, name("d"), 1, 0,                           // 3
            name("outer"), kind(4, 3) | with_bits, 16,
                name("a"), 1, 0, 0, 3, 32, name("bits"), 1, 3 << 24 | 96,         // 4
            name("t"), kind(8, 0), 4,                                             // 5
            name("holder"), kind(4, 2), 20, name("x"), 1, 0, name("inner"), 5, 32, // 6
        ];
        let types_len = u32::try_from(types.len() * 4).unwrap();
        let strings_len = u32::try_from(strings.len()).unwrap();
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types_len, types_len, strings_len].iter().chain(&types) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn members_are_found_through_anonymous_and_named_ones() {
        let btf = Btf::parse(&sample()).unwrap();
        for (of, member, offset) in [
            ("outer", "a", 0),
            ("outer", "b", 4),
            ("outer", "c", 8),
            ("outer", "d", 4),
            ("holder", "inner", 4),
            ("holder", "inner.c", 12),
        ] {
            assert_eq!(btf.offset(of, member).unwrap(), offset, "{of}.{member}");
        }
        assert_eq!(btf.size("holder").unwrap(), 20);
        for (of, member) in [("outer", "bits"), ("outer", "e"), ("nothing", "a")] {
            let error = btf.offset(of, member).unwrap_err().to_string();
            assert_eq!(error, format!("this kernel has no {of}.{member}"));
        }
    }

    #[test]
    fn what_is_cut_off_is_malformed_and_never_a_panic() {
        let whole = sample();
        for len in 0..whole.len() {
            let error = Btf::parse(&whole[..len]).unwrap_err();
            assert!(matches!(error, BtfError::Malformed { .. }), "{len}: {error}");
        }
    }

    #[test]
    fn the_running_kernel_knows_its_socket_buffers() {
        let btf = Btf::of_kernel().unwrap();
        assert!(btf.offset("sk_buff", "data_len").unwrap() > btf.offset("sk_buff", "len").unwrap());
        assert!(btf.offset("sock", "__sk_common.skc_family").unwrap() > 0);
    }
}
