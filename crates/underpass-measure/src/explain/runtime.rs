//! What a program's code runs on, told by its file and by what it loads.
//!
//! Source: elf(5); debug/buildinfo (Go puts a section `.go.buildinfo` into each program).

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::account::context::Runtime;
use crate::proc::Area;

/// Names of sections are not longer than this, all together.
const NAMES_BYTES_MAX: u64 = 1 << 16;

/// What it is, as far as the libraries tell that a process has loaded.
pub(crate) fn of_libraries(areas: &[Area]) -> Option<Runtime> {
    let mut paths = areas.iter().filter_map(|area| Some(&area.file.as_ref()?.1));
    let is_java = |path: &std::path::PathBuf| path.file_name().is_some_and(|it| it == "libjvm.so");
    paths.any(is_java).then_some(Runtime::Java)
}

/// What it is, as far as an executable tells.
pub(crate) fn of_executable(file: &File) -> Option<Runtime> {
    let names = section_names(file)?;
    let mut names = names.split(|byte| *byte == 0);
    names.any(|name| name == b".go.buildinfo").then_some(Runtime::Go)
}

/// The names of the sections of a 64-bit ELF file.
fn section_names(file: &File) -> Option<Vec<u8>> {
    let read = |at: u64, len: u64| {
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    };
    let head = read(0, 64)?;
    let number = |bytes: &[u8], at: usize, len: usize| -> Option<u64> {
        let bytes = bytes.get(at..at + len)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (sections, size) = (number(&head, 0x28, 8)?, number(&head, 0x3a, 2)?);
    let names = read(sections.checked_add(size * number(&head, 0x3e, 2)?)?, size)?;
    read(number(&names, 0x18, 8)?, number(&names, 0x20, 8)?.min(NAMES_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with one section, of the names of sections.
    fn elf(names: &[u8]) -> tempfile::NamedTempFile {
        let mut bytes = vec![0; 192];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[0x28], bytes[0x3a], bytes[0x3e]) = (64, 64, 1);
        (bytes[128 + 0x18], bytes[128 + 0x20]) = (192, u8::try_from(names.len()).unwrap());
        bytes.extend(names);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn go_is_told_by_a_section_and_java_by_a_library() {
        let runtime = |names: &[u8]| of_executable(elf(names).as_file());
        assert_eq!(runtime(b"\0.text\0.go.buildinfo\0"), Some(Runtime::Go));
        assert_eq!((runtime(b"\0.text\0.go.build\0"), runtime(b"")), (None, None));
        assert_eq!(of_executable(&File::open("/proc/self/exe").unwrap()), None);
        let names = section_names(&File::open("/proc/self/exe").unwrap()).unwrap();
        assert!(names.windows(6).any(|name| name == b"\0.text"));
        let area = |path: &str| Area {
            start: 0,
            end: 1,
            is_written: false,
            is_executable: true,
            file: Some((crate::evidence::FileId::NOT_SEEN, path.into())),
        };
        assert_eq!(of_libraries(&[area("/usr/lib/jvm/libjvm.so")]), Some(Runtime::Java));
        assert_eq!(of_libraries(&[area("/lib/libjvmti.so")]), None);
    }

    #[test]
    fn what_is_not_elf_or_is_cut_off_has_no_runtime() {
        let whole = std::fs::read(elf(b"\0.go.buildinfo\0").path()).unwrap();
        for len in 0..whole.len() {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &whole[..len]).unwrap();
            assert_eq!(of_executable(file.as_file()), None, "{len} bytes");
        }
    }
}
