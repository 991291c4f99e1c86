//! `bpf(2)`: maps, and programs on raw tracepoints.
//!
//! `CAP_BPF` and `CAP_PERFMON` suffice (5.8 and later); no file of tracefs is touched. A map or
//! a program lives as long as somebody holds its descriptor, an attachment as long as its own.
//!
//! Source: bpf(2); linux/bpf.h; `Documentation/bpf/`.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::last_errno;

/// Commands of bpf(2), by their numbers in linux/bpf.h (`enum bpf_cmd`).
#[derive(Clone, Copy)]
enum Command {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    MapNextKey = 4,
    ProgramLoad = 5,
    RawTracepointOpen = 17,
    TypesLoad = 18,
    MapFreeze = 22,
}

/// Of a record of a function: its instruction and its type.
const FUNCTION_LEN: u32 = 8;

const PROGRAM_RAW_TRACEPOINT: u32 = 17;

/// Kernels that take programs with `probe_read` only under a licence compatible with the GPL
/// know this one (linux/license.h).
const LICENCE: &CStr = c"Dual MIT/GPL";

/// What a map is made as: the attributes of `BPF_MAP_CREATE`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapShape {
    /// Its kind, by its number in linux/bpf.h (`enum bpf_map_type`).
    pub kind: u32,
    /// Length of its keys in bytes.
    pub key_len: u32,
    /// Length of its values.
    pub value_len: u32,
    /// How many it has room for.
    pub entries_max: u32,
    /// `BPF_F_...`.
    pub flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct Element {
    map_fd: u32,
    _pad: u32,
    key: u64,
    value_or_next: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
}

#[repr(C)]
#[derive(Default)]
struct TypesLoad {
    btf: u64,
    log_buf: u64,
    size: u32,
    log_size: u32,
    log_level: u32,
    _pad: u32,
}

#[repr(C)]
#[derive(Default)]
struct RawTracepoint {
    name: u64,
    prog_fd: u32,
    _pad: u32,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A map, and the lengths of its keys and values: no other is read or written.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    key_len: usize,
    value_len: usize,
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Map {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_BPF`; `EINVAL` for sizes the kernel refuses; `ENOMEM`.
    pub fn new(shape: &MapShape) -> Result<Self, Errno> {
        // SAFETY: bpf(2), `BPF_MAP_CREATE`: reads the attributes and nothing they point to.
        let fd = owned(unsafe { call(Command::MapCreate, shape) }?);
        Ok(Self { fd, key_len: shape.key_len as usize, value_len: shape.value_len as usize })
    }

    /// A value that nothing was written to.
    #[must_use]
    pub fn zeros(&self) -> Vec<u8> {
        vec![0; self.value_len]
    }

    /// The value of a key, if that is there.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a length that differs from the map's.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let mut value = self.zeros();
        let attributes = self.element(key, value.as_mut_ptr().addr() as u64)?;
        // SAFETY: bpf(2), `BPF_MAP_LOOKUP_ELEM`: reads a key and writes a value, of the map's
        // lengths.
        let found = unsafe { call(Command::MapLookup, &attributes) };
        if_there(found).map(|found| found.map(|_| value))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    ///
    /// `E2BIG` if the map is full; `EINVAL` for lengths that differ from the map's.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        if value.len() != self.value_len {
            return Err(Errno::INVAL);
        }
        let attributes = self.element(key, value.as_ptr().addr() as u64)?;
        // SAFETY: bpf(2), `BPF_MAP_UPDATE_ELEM`: reads a key and a value of the map's lengths.
        unsafe { call(Command::MapUpdate, &attributes) }.map(|_| ())
    }

    /// Takes a key out, if it is there.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a length that differs from the map's.
    pub fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let attributes = self.element(key, 0)?;
        // SAFETY: bpf(2), `BPF_MAP_DELETE_ELEM`: reads a key of the map's length.
        if_there(unsafe { call(Command::MapDelete, &attributes) }).map(|_| ())
    }

    /// Every key with its value, once. What is added or taken out meanwhile may or may not be among
    /// them.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn entries(&self) -> Result<Vec<Entry>, Errno> {
        // A key that no map has: the walk begins with the first.
        let (mut key, mut next) = (vec![0xff; self.key_len], vec![0; self.key_len]);
        // A key that is taken out meanwhile has the walk of a hash begin anew.
        let mut entries = BTreeMap::new();
        loop {
            let attributes = self.element(&key, next.as_mut_ptr().addr() as u64)?;
            // SAFETY: bpf(2), `BPF_MAP_GET_NEXT_KEY`: reads and writes a key of the map's length.
            if if_there(unsafe { call(Command::MapNextKey, &attributes) })?.is_none() {
                return Ok(entries.into_iter().collect());
            }
            key.copy_from_slice(&next);
            entries.extend(self.get(&key)?.map(|value| (key.clone(), value)));
        }
    }

    fn element(&self, key: &[u8], value_or_next: u64) -> Result<Element, Errno> {
        if key.len() != self.key_len {
            return Err(Errno::INVAL);
        }
        Ok(Element {
            map_fd: self.fd.as_raw_fd().cast_unsigned(),
            key: key.as_ptr().addr() as u64,
            value_or_next,
            ..Element::default()
        })
    }
}

/// Nothing where there is no such key.
fn if_there<T>(answer: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match answer {
        Err(Errno::NOENT) => Ok(None),
        answer => answer.map(Some),
    }
}

/// Keeps a map as it is: programs loaded from now on may take its values for constants.
///
/// # Errors
///
/// `EPERM`; `EBUSY` if it is being written.
pub fn freeze(map: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: bpf(2), linux/bpf.h `BPF_MAP_FREEZE`: reads the map's descriptor and nothing else.
    unsafe { call(Command::MapFreeze, &map.as_raw_fd()) }.map(|_| ())
}

/// Gives the kernel the types of programs (BTF), which callbacks cannot be without.
///
/// # Errors
///
/// `EPERM`; `EINVAL` if it is not BTF, or of a kind that this kernel does not know.
pub fn load_types(types: &[u8]) -> Result<OwnedFd, Errno> {
    let attributes = TypesLoad {
        btf: types.as_ptr().addr() as u64,
        size: u32::try_from(types.len()).map_err(|_| Errno::OVERFLOW)?,
        ..TypesLoad::default()
    };
    // SAFETY: bpf(2), linux/bpf.h `BPF_BTF_LOAD`: reads `size` bytes, and writes no log.
    let answer = unsafe { call(Command::TypesLoad, &attributes) }?;
    Ok(owned(answer))
}

/// A program and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Program<'p> {
    /// Its instructions.
    pub instructions: &'p [u64],
    /// The types that [`load_types`] gave, and which of them each function has: pairs of
    /// instruction and type.
    pub types: Option<(BorrowedFd<'p>, &'p [[u32; 2]])>,
}

/// Loads a program for raw tracepoints; the verifier's words go to `log`, NUL-terminated, if it
/// is not empty.
///
/// # Errors
///
/// `EPERM` without the capabilities; `EACCES` or `EINVAL` if the verifier refuses; `ENOSPC` if
/// its words do not fit.
pub fn load_raw_tracepoint(program: Program<'_>, log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let too_large = |_| Errno::OVERFLOW;
    let Program { instructions, types } = program;
    let functions = types.map_or(&[][..], |(_, functions)| functions);
    let attributes = ProgramLoad {
        prog_type: PROGRAM_RAW_TRACEPOINT,
        insn_cnt: u32::try_from(instructions.len()).map_err(too_large)?,
        insns: instructions.as_ptr().addr() as u64,
        license: LICENCE.as_ptr().addr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).map_err(too_large)?,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr().addr() as u64 },
        prog_btf_fd: types.map_or(0, |(types, _)| types.as_raw_fd().cast_unsigned()),
        func_info_rec_size: if functions.is_empty() { 0 } else { FUNCTION_LEN },
        func_info: functions.as_ptr().addr() as u64,
        func_info_cnt: u32::try_from(functions.len()).map_err(too_large)?,
        ..ProgramLoad::default()
    };
    // SAFETY: bpf(2), `BPF_PROG_LOAD`: reads insn_cnt instructions, func_info_cnt records of
    // eight bytes and a terminated licence, and writes at most log_size bytes to log_buf.
    let answer = unsafe { call(Command::ProgramLoad, &attributes) }?;
    Ok(owned(answer))
}

/// Runs a program whenever the kernel passes the tracepoint, for as long as the answer lives.
///
/// # Errors
///
/// `ENOENT` if the kernel has no such tracepoint; `EPERM`.
pub fn attach_raw_tracepoint(program: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let attributes = RawTracepoint {
        name: name.as_ptr().addr() as u64,
        prog_fd: program.as_raw_fd().cast_unsigned(),
        _pad: 0,
    };
    // SAFETY: bpf(2), linux/bpf.h `BPF_RAW_TRACEPOINT_OPEN`: reads a terminated name.
    let answer = unsafe { call(Command::RawTracepointOpen, &attributes) }?;
    Ok(owned(answer))
}

/// # Safety
///
/// What the command reads and writes through the addresses in `attributes` must be live and
/// large enough.
unsafe fn call<T>(command: Command, attributes: &T) -> Result<RawFd, Errno> {
    // SAFETY: bpf(2): "size ... of the union pointed to by attr"; what is beyond it is taken
    // as zero. The caller vouches for what the attributes point to.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    if answer < 0 { Err(last_errno()) } else { RawFd::try_from(answer).map_err(|_| Errno::BADF) }
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: bpf(2), RETURN VALUE: "a new file descriptor", which no one else has.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_keeps_what_is_put_and_gives_its_keys_one_by_one() {
        underpass_testkit::require!(underpass_testkit::skip::Capability::Root);
        let shape = MapShape { kind: 1, key_len: 4, value_len: 8, entries_max: 2, flags: 0 };
        let map = Map::new(&shape).unwrap();
        let (key, value) = (7_u32.to_ne_bytes().to_vec(), 9_u64.to_ne_bytes().to_vec());
        map.set(&key, &value).unwrap();
        assert_eq!(map.get(&key).unwrap().as_ref(), Some(&value));
        assert_eq!(map.entries().unwrap(), [(key.clone(), value)]);
        assert_eq!(map.get(&8_u32.to_ne_bytes()), Ok(None));
        assert_eq!(map.get(&[0; 3]), Err(Errno::INVAL));
        assert_eq!(map.set(&key, &[0; 3]), Err(Errno::INVAL));
        map.remove(&key).unwrap();
        map.remove(&key).unwrap();
        assert_eq!(map.get(&key), Ok(None));
    }

    fn bare(instructions: &[u64]) -> Program<'_> {
        Program { instructions, types: None }
    }

    #[test]
    fn a_frozen_map_stays_as_it_is() {
        underpass_testkit::require!(underpass_testkit::skip::Capability::Root);
        let shape = MapShape { kind: 2, key_len: 4, value_len: 8, entries_max: 1, flags: 0 };
        let map = Map::new(&shape).unwrap();
        let set = |number: u64| map.set(&[0; 4], &number.to_ne_bytes());
        set(3).unwrap();
        freeze(map.as_fd()).unwrap();
        assert_eq!(set(4), Err(Errno::PERM));
        assert_eq!(load_types(&[0; 32]).unwrap_err(), Errno::INVAL);
    }

    #[test]
    fn a_program_the_verifier_refuses_is_refused_with_its_words() {
        underpass_testkit::require!(underpass_testkit::skip::Capability::Root);
        // `exit` with r0 unset.
        let mut log = vec![0; 4_096];
        load_raw_tracepoint(bare(&[0x95]), &mut log).unwrap_err();
        let said = CStr::from_bytes_until_nul(&log).unwrap().to_str().unwrap();
        assert!(said.contains("R0 !read_ok"), "{said}");
        // `mov r0, 0; exit`.
        let program = load_raw_tracepoint(bare(&[0xb7, 0x95]), &mut []).unwrap();
        let attached = attach_raw_tracepoint(program.as_fd(), c"sys_exit").unwrap();
        assert!(attached.as_raw_fd() > 0);
        let unknown = attach_raw_tracepoint(program.as_fd(), c"no_such_tracepoint");
        assert_eq!(unknown.unwrap_err(), Errno::NOENT);
    }
}
