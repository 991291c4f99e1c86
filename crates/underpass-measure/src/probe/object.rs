//! The programs as clang compiled them, fitted to the running kernel and loaded.
//!
//! Source: `Documentation/bpf/btf.rst`, `Documentation/bpf/kfuncs.rst` (`bpf_rdonly_cast`).

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;

use aya_obj::btf::{Btf, BtfFeatures, BtfKind};
use aya_obj::generated::bpf_insn;
use aya_obj::{Map as Definition, Object};
use rustix::io::Errno;
use underpass_sys::bpf::{self, Map, MapShape};

use super::ProbeError;
use crate::call;

static OBJECT: &[u8] = include_bytes!("probe.bpf.o");

/// What probe.bpf.c has in place of a function of the kernel that is not a helper.
const RDONLY_CAST: i32 = 9_000_001;
/// A call, and what is in place of its source register if it is of a function of the kernel.
const CALL: u8 = 0x85;
const PSEUDO_KFUNC: u8 = 2;

/// Where the programs have what is not theirs.
const RODATA: &str = ".rodata";

/// Helpers as the verifier names those that it does not know: bpf_find_vma and bpf_loop.
const SINCE_5_17: [&str; 2] = ["unknown#180", "unknown#181"];

/// Times that a program is given to the verifier.
const LOADS_MAX: u32 = 100;

/// What the verifier says of a program that it refuses can be this long.
const LOG_LEN: usize = 1 << 20;

/// How much of the end of it is shown.
const LOG_SHOWN: usize = 2_000;

/// What the programs read is where this kernel has it.
struct Fitted {
    object: Object,
    /// The type of `bpf_rdonly_cast`, since Linux 6.2; none before 6.7, whose verifier goes once
    /// through a loop that it does not know to end: the two together are tried on no kernel.
    cast: Option<i32>,
}

impl Fitted {
    /// Done once: the kernel's type information is long.
    fn to_this_kernel() -> Result<&'static Self, ProbeError> {
        static FITTED: OnceLock<Fitted> = OnceLock::new();
        if let Some(known) = FITTED.get() {
            return Ok(known);
        }
        let types = Btf::from_sys_fs().map_err(ProbeError::types)?;
        // What is compiled in need not be aligned.
        let aligned = OBJECT.to_vec();
        let mut object = Object::parse(&aligned).map_err(ProbeError::types)?;
        object.relocate_btf(&types).map_err(ProbeError::types)?;
        let all = BtfFeatures::new(true, true, true, true, true, true, true, true);
        object.fixup_and_sanitize_btf(&all).map_err(ProbeError::types)?;
        let function = |name| types.id_by_type_name_kind(name, BtfKind::Func).ok();
        let is_new = function("bpf_iter_task_new").is_some();
        let cast = function("bpf_rdonly_cast").filter(|_| is_new).map(u32::cast_signed);
        Ok(FITTED.get_or_init(|| Self { object, cast }))
    }
}

/// The programs and their maps, before they are loaded.
pub(crate) struct Programs {
    object: Object,
    types: OwnedFd,
    /// By name.
    pub(crate) maps: HashMap<String, Map>,
    cast: Option<i32>,
}

impl Programs {
    /// With new maps, for processes as the PID namespace of this inode numbers them; the first has
    /// 0. If they may not read `directly`, they read by calls.
    pub(crate) fn new(namespace: u32, directly: bool) -> Result<Self, ProbeError> {
        let Fitted { object, cast } = Fitted::to_this_kernel()?;
        let (mut object, cast) = (object.clone(), cast.filter(|_| directly));
        let mut settings = [0; 8];
        settings[..4].copy_from_slice(&u32::from(cast.is_some()).to_ne_bytes());
        settings[4..].copy_from_slice(&namespace.to_ne_bytes());
        let shapes = call::shapes();
        let known =
            HashMap::from([("settings", (&settings[..], true)), ("shapes", (&shapes[..], true))]);
        object.patch_map_data(known).map_err(ProbeError::types)?;
        let types = object.btf.as_ref().map(Btf::to_bytes).unwrap_or_default();
        let types = bpf::load_types(&types)?;
        let mut maps = HashMap::new();
        for (name, definition) in &object.maps {
            maps.insert(name.clone(), made(name, definition)?);
        }
        let text = object.functions.keys().map(|(section, _)| *section);
        let text: HashSet<usize> = text.collect();
        let given = object.maps.clone();
        let given =
            given.iter().map(|(name, map)| (name.as_str(), maps[name].as_fd().as_raw_fd(), map));
        object.relocate_maps(given, &text).map_err(ProbeError::types)?;
        object.relocate_calls(&text).map_err(ProbeError::types)?;
        Ok(Self { object, types, maps, cast })
    }

    /// Loads the program for a tracepoint.
    pub(crate) fn load(&self, tracepoint: &'static str) -> Result<OwnedFd, ProbeError> {
        let program = self.object.programs.get(tracepoint);
        let function = program.and_then(|it| self.object.functions.get(&it.function_key()));
        let Some(function) = function else {
            return Err(ProbeError::new(format!("there is no program for {tracepoint}")));
        };
        let instructions: Vec<u64> =
            function.instructions.iter().map(|&instruction| self.word(instruction)).collect();
        let functions = &function.func_info.func_info;
        let functions: Vec<_> = functions.iter().map(|of| [of.insn_off, of.type_id]).collect();
        let program = bpf::Program {
            instructions: &instructions,
            types: Some((self.types.as_fd(), &functions)),
        };
        let mut attempts = 0;
        let loaded = loop {
            attempts += 1;
            match bpf::load_raw_tracepoint(program, &mut []) {
                // The verifier gives up for a signal, such as that of a child that ended.
                Err(Errno::AGAIN) if attempts < LOADS_MAX => {}
                loaded => break loaded,
            }
        };
        loaded.map_err(|source| {
            let mut log = vec![0; LOG_LEN];
            let error = ProbeError::failed(&format!("the program for {tracepoint}"), source);
            if source == Errno::PERM || bpf::load_raw_tracepoint(program, &mut log).is_ok() {
                return error;
            }
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(LOG_LEN);
            let said = String::from_utf8_lossy(&log[end.saturating_sub(LOG_SHOWN)..end]);
            if SINCE_5_17.iter().any(|helper| said.contains(helper)) {
                return ProbeError::new(
                    "this kernel is too old; pages are seen from Linux 5.17 on",
                );
            }
            ProbeError { _verifier: said.into_owned(), ..error }
        })
    }

    /// An instruction as the kernel takes it.
    fn word(&self, instruction: bpf_insn) -> u64 {
        let bpf_insn { code, off, mut imm, .. } = instruction;
        let mut source = instruction.src_reg();
        if let Some(cast) = self.cast
            && (code, imm) == (CALL, RDONLY_CAST)
        {
            (source, imm) = (PSEUDO_KFUNC, cast);
        }
        let registers = instruction.dst_reg() | source << 4;
        u64::from(code)
            | u64::from(registers) << 8
            | u64::from(off.cast_unsigned()) << 16
            | u64::from(imm.cast_unsigned()) << 32
    }
}

fn made(name: &str, definition: &Definition) -> Result<Map, Errno> {
    let map = Map::new(&MapShape {
        kind: definition.map_type(),
        key_len: definition.key_size(),
        value_len: definition.value_size(),
        entries_max: definition.max_entries(),
        flags: definition.map_flags(),
    })?;
    if name == RODATA {
        map.set(&0_u32.to_ne_bytes(), definition.data())?;
        bpf::freeze(map.as_fd())?;
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_was_made_from_the_source_beside_it() {
        let source = include_bytes!("probe.bpf.c");
        let has_it = OBJECT.windows(source.len()).any(|part| part == source);
        assert!(has_it, "probe.bpf.c has changed: run `cargo xtask bpf`");
    }
}
