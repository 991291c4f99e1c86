//! What the guest finds when it starts: its first file tree, and a disk.
//!
//! The tree is an archive in cpio's `newc` format that the kernel unpacks into memory:
//! busybox-static, the modules, the test binaries, and the few programs that tests start: taken
//! from the host with the libraries ldd(1) names for them, or compiled here, because the guest
//! has no compiler. The disk is a separate ext4 image, because files in memory are never cold.
//!
//! Source: `Documentation/filesystems/ramfs-rootfs-initramfs.rst`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::TestBinary;
use super::kernel::Kernel;
use underpass_testkit::process::output;
use underpass_testkit::workspace;

/// Programs that tests start; each is taken from the host.
const PROGRAMS: [&str; 10] = [
    "bash",
    "ethtool",
    "ip",
    "mkfs.btrfs",
    "mkfs.ext4",
    "mkfs.xfs",
    "nsenter",
    "strace",
    "tc",
    "unshare",
];

/// Programs that tests compile where there is a compiler, from the workspace's directory.
const SOURCES: [&str; 1] = ["crates/underpass-measure/tests/senders/sender.c"];

const DISK_BYTES: u64 = 1 << 30;

const INIT: &str = include_str!("init.sh");

/// Writes the archive and returns where it is.
pub(super) fn archive(dir: &Path, kernel: &Kernel, tests: &[TestBinary]) -> Result<PathBuf> {
    let scratch = tempfile::tempdir_in(dir)?;
    let root = scratch.path();
    for name in ["bin", "compiled", "dev", "disk", "lib", "modules", "proc", "sys", "tests", "tmp"]
    {
        fs::create_dir(root.join(name))?;
    }
    symlink("lib", root.join("lib64"))?;
    symlink("bin", root.join("sbin"))?;
    fs::write(root.join("init"), INIT)?;
    executable(&root.join("init"))?;
    let busybox = which("busybox")?;
    fs::copy(&busybox, root.join("bin/busybox"))?;
    for program in PROGRAMS {
        let path = which(program)?;
        fs::copy(&path, root.join("bin").join(program))?;
        for library in libraries(&path)? {
            let name = library.file_name().context("a library has a name")?;
            fs::copy(&library, root.join("lib").join(name))?;
        }
    }
    let mut order = String::new();
    for module in &kernel.modules {
        let name = module.file_name().context("a module has a name")?;
        fs::copy(module, root.join("modules").join(name))?;
        order.push_str(&format!("{}\n", name.to_string_lossy()));
    }
    fs::write(root.join("modules/order"), order)?;
    for source in SOURCES {
        compile(&workspace::root().join(source), &root.join("compiled"))?;
    }
    let mut order = String::new();
    for TestBinary { name, path, arguments } in tests {
        let home = root.join("tests").join(name);
        fs::create_dir(&home)?;
        // Tests may ask for their own program's name.
        let file = name.rsplit_once('.').map_or(&**name, |(_package, file)| file);
        fs::copy(path, home.join(file))?;
        order.push_str(&format!("{name} {}\n", arguments.join(" ")));
    }
    fs::write(root.join("tests/order"), order)?;
    pack(root, &dir.join("initramfs"))
}

/// Compiles a program, statically linked, and names it for its source.
fn compile(source: &Path, dir: &Path) -> Result<()> {
    let name = source.file_stem().context("a source has a name")?;
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-static", "-o"]).arg(dir.join(name)).arg(source);
    output(&mut cc)?;
    Ok(())
}

/// Makes an empty ext4 image and returns where it is.
pub(super) fn disk(dir: &Path) -> Result<PathBuf> {
    let image = dir.join("disk");
    fs::File::create(&image)?.set_len(DISK_BYTES)?;
    output(Command::new(which("mkfs.ext4")?).args(["-q", "-F", "-m", "0"]).arg(&image))?;
    Ok(image)
}

fn pack(root: &Path, archive: &Path) -> Result<PathBuf> {
    let (mut names, mut at) = (vec![PathBuf::from(".")], 0);
    while let Some(name) = names.get(at).cloned() {
        let path = root.join(&name);
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path)? {
                names.push(name.join(entry?.file_name()));
            }
        }
        at += 1;
    }
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--owner=0:0", "--quiet"]).current_dir(root);
    cpio.stdin(Stdio::piped()).stdout(fs::File::create(archive)?);
    let mut cpio = cpio.spawn().context("cpio")?;
    let mut list = cpio.stdin.take().context("cpio reads a pipe")?;
    for name in names {
        writeln!(list, "{}", name.display())?;
    }
    drop(list);
    ensure!(cpio.wait()?.success(), "cpio failed");
    Ok(archive.to_owned())
}

fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn which(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = dirs.find_map(|dir| Some(dir.join(program)).filter(|path| path.is_file()));
    found.with_context(|| format!("{program} is not installed; cargo xtask ci installs it"))
}

/// The files after `=>`, and the loader, on its own line, in what ldd(1) prints.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let list = output(Command::new("ldd").arg(program))?;
    let words = list.lines().filter_map(|line| {
        let line = line.split(" (").next()?.trim();
        Some(line.rsplit_once("=> ").map_or(line, |(_, path)| path))
    });
    Ok(words.filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_libraries_and_loader_are_found() {
        let found = libraries(&which("sh").unwrap()).unwrap();
        let names: Vec<String> =
            found.iter().map(|path| path.file_name().unwrap().to_string_lossy().into()).collect();
        assert!(names.iter().any(|name| name.starts_with("libc.so")), "{names:?}");
        assert!(names.iter().any(|name| name.starts_with("ld-linux")), "{names:?}");
        assert!(found.iter().all(|path| path.exists()), "{found:?}");
    }
}
