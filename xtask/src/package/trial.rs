//! A package on trial: installed in an empty root, run there, and removed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use underpass_testkit::process::output;

/// What has to be in it, among others.
const FILES: [&str; 9] = [
    "etc/underpass/serve.toml",
    "usr/bin/underpass",
    "usr/lib/systemd/system/underpass-serve.service",
    "usr/lib/systemd/system/underpass-serve.socket",
    "usr/share/bash-completion/completions/underpass",
    "usr/share/doc/underpass/copyright",
    "usr/share/fish/vendor_completions.d/underpass.fish",
    "usr/share/man/man1/underpass-serve.1.gz",
    "usr/share/zsh/vendor-completions/_underpass",
];

/// Installs, runs and removes the package, beneath `dir`.
///
/// # Errors
///
/// If one of these fails, or leaves something behind.
pub(super) fn run(dir: &Path, package: &Path) -> Result<()> {
    let listed = output(Command::new("dpkg-deb").arg("--contents").arg(package))?;
    for line in listed.lines() {
        ensure!(line.contains(" root/root "), "it is not root's: {line}");
    }
    let root = dir.join("root");
    for path in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log"] {
        fs::create_dir_all(root.join(path))?;
    }
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    dpkg(&root, "--install", package.as_os_str())?;
    for path in FILES {
        ensure!(root.join(path).is_file(), "/{path} was not installed");
    }
    let program = root.join("usr/bin/underpass");
    let version = output(Command::new(&program).arg("--version"))?;
    ensure!(version.starts_with("underpass "), "it says {version}");
    let settings = root.join("etc/underpass/serve.toml");
    output(Command::new(&program).args(["serve", "--check", "--config"]).arg(settings))?;
    fs::create_dir_all(root.join("var/log/underpass"))?;
    dpkg(&root, "--purge", "underpass".as_ref())?;
    let left = files(&root)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    println!("{version} was installed, ran, and was removed without a trace");
    Ok(())
}

/// Its scripts run without chroot(2), since there is no shell in the root; libraries are those of
/// the machine.
fn dpkg(root: &Path, action: &str, of: &std::ffi::OsStr) -> Result<()> {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg("--root").arg(root).args(["--force-depends", "--force-script-chrootless"]);
    output(dpkg.arg("--log=/dev/null").arg(action).arg(of))?;
    Ok(())
}

/// All that is beneath a root but for what dpkg keeps for itself, empty directories too.
fn files(root: &Path) -> Result<BTreeSet<String>> {
    let mut find = Command::new("find");
    find.current_dir(root).args([".", "-mindepth", "1"]);
    find.args(["!", "-path", "./var/lib/dpkg*", "!", "-path", "./var", "!", "-path", "./var/lib"]);
    let found = output(find.args(["!", "-path", "./var/log"])).context("find")?;
    Ok(found.lines().map(str::to_owned).collect())
}
