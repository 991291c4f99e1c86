//! Debian's cloud kernel: its package unpacked, and its modules in the order they load.
//!
//! A module names those it needs in its `.modinfo` section (`depends=a,b`), with `_` where file
//! names may have `-`. What is built into the kernel is listed in `modules.builtin` and needs
//! no file.
//!
//! Source: `Documentation/kbuild/kbuild.rst` (modules.builtin); modinfo(8).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use underpass_testkit::process::output;

/// What the guest loads. Kernel TLS asks the crypto layer for `gcm(aes)` by name, so its
/// parts are depended on by no module; nor are those of `rfc7539(chacha20,poly1305)`.
const WANTED: [&str; 23] = [
    "virtio_pci",
    "virtio_blk",
    "ext4",
    "loop",
    "xfs",
    "btrfs",
    "ghash-generic",
    "ctr",
    "gcm",
    "aesni-intel",
    "chacha_generic",
    "poly1305_generic",
    "chacha20poly1305",
    "tls",
    "veth",
    "bridge",
    "macvlan",
    "vxlan",
    "overlay",
    "ifb",
    "sch_ingress",
    "cls_u32",
    "act_mirred",
];

/// A kernel ready to boot.
#[derive(Debug)]
pub(super) struct Kernel {
    pub image: PathBuf,
    /// Each after those it needs.
    pub modules: Vec<PathBuf>,
}

/// Downloads and unpacks the distribution's cloud kernel, or finds it unpacked.
pub(super) fn unpack(dir: &Path) -> Result<Kernel> {
    let package = concrete_package()?;
    let root = dir.join(&package);
    if !root.exists() {
        println!("guest: unpacking {package}");
        let fetched = tempfile::tempdir_in(dir)?;
        let mut apt = Command::new("apt-get");
        apt.args(["-q", "-o", "APT::Sandbox::User=root", "download", &package]);
        output(apt.current_dir(fetched.path()))?;
        let deb = std::fs::read_dir(fetched.path())?.next().context("apt-get left no file")??;
        let unpacked = fetched.path().join("root");
        output(Command::new("dpkg-deb").arg("-x").arg(deb.path()).arg(&unpacked))?;
        std::fs::rename(unpacked, &root)?;
    }
    let version = package.trim_start_matches("linux-image-");
    let image = root.join("boot").join(format!("vmlinuz-{version}"));
    ensure!(image.exists(), "{} is not in {package}", image.display());
    let modules = Modules::of(&root.join("lib/modules").join(version))?.in_order()?;
    Ok(Kernel { image, modules })
}

/// The package that the moving name `linux-image-cloud-amd64` stands for today.
fn concrete_package() -> Result<String> {
    let list = output(Command::new("apt-cache").args(["depends", "linux-image-cloud-amd64"]))
        .context("the guest's kernel comes from Debian's archive")?;
    let found = list.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(found.context("linux-image-cloud-amd64 depends on no kernel; apt-get update?")?.to_owned())
}

/// The modules of one kernel, by name with `_`.
struct Modules {
    files: BTreeMap<String, PathBuf>,
    built_in: Vec<String>,
}

impl Modules {
    fn of(dir: &Path) -> Result<Self> {
        let list = std::fs::read_to_string(dir.join("modules.builtin"))?;
        let mut modules = Self { files: BTreeMap::new(), built_in: Vec::new() };
        modules.built_in.extend(list.lines().map(|line| module_name(Path::new(line))));
        let mut dirs = vec![dir.join("kernel")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir)? {
                let path = entry?.path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    modules.files.insert(module_name(&path), path);
                }
            }
        }
        Ok(modules)
    }

    /// The wanted ones and those they need, each after its own needs.
    fn in_order(&self) -> Result<Vec<PathBuf>> {
        let mut order = Vec::new();
        for name in WANTED {
            self.visit(&name.replace('-', "_"), &mut order)?;
        }
        Ok(order)
    }

    /// Ends, because a kernel's modules form no cycle.
    fn visit(&self, name: &str, order: &mut Vec<PathBuf>) -> Result<()> {
        if self.built_in.iter().any(|built_in| built_in == name) {
            return Ok(());
        }
        let file = self.files.get(name).with_context(|| format!("the kernel has no {name}"))?;
        let is_plain = file.extension().is_some_and(|extension| extension == "ko");
        ensure!(is_plain, "{} is compressed: the guest's insmod takes .ko only", file.display());
        if order.contains(file) {
            return Ok(());
        }
        for needed in needs(&std::fs::read(file)?) {
            self.visit(&needed, order)?;
        }
        order.push(file.clone());
        Ok(())
    }
}

fn module_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().replace('-', "_")
}

/// The names in `depends=` of a module's `.modinfo`.
fn needs(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = module.windows(key.len()).position(|window| window == key) else {
        return Vec::new();
    };
    let value = module.get(at + key.len()..).unwrap_or_default();
    let value = value.split(|&byte| byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modules_needs_are_read_from_its_modinfo() {
        let module = b"\x7fELF..license=GPL\0depends=virtio_ring,crc32c-generic\0retpoline=Y\0";
        assert_eq!(needs(module), ["virtio_ring", "crc32c_generic"]);
        assert_eq!(needs(b"a=b\0depends=\0c=d\0"), [""; 0]);
    }

    #[test]
    fn modules_come_after_what_they_need_and_built_in_ones_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = dir.path().join("kernel/a");
        std::fs::create_dir_all(&kernel).unwrap();
        std::fs::write(dir.path().join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        for (name, needs) in [("b-c", "d"), ("d", "e,ext4"), ("e", "")] {
            let text = format!("x\0depends={needs}\0");
            std::fs::write(kernel.join(format!("{name}.ko")), text).unwrap();
        }
        let (modules, mut order) = (Modules::of(dir.path()).unwrap(), Vec::new());
        modules.visit("b_c", &mut order).unwrap();
        modules.visit("e", &mut order).unwrap();
        let names: Vec<String> = order.iter().map(|path| module_name(path)).collect();
        assert_eq!(names, ["e", "d", "b_c"]);
        assert!(modules.visit("tls", &mut order).is_err());
    }
}
