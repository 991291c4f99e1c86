//! `cargo xtask package`: a Debian package of the program.
//!
//! It is put together by dpkg's own programs: a tree of files, a control file and dpkg-deb(1),
//! which is all that a package is. The libraries that it depends on are those that
//! dpkg-shlibdeps(1) finds: the C library stays the system's, with its security updates and its
//! name services.
//!
//! Source: deb(5); deb-control(5); Debian Policy 10.7 (configuration files), 12.3 to 12.7.

mod trial;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use underpass_testkit::process::output;
use underpass_testkit::workspace;

/// As a package says it.
const MAINTAINER: &str = "The underpass maintainers <maintainers@underpass.invalid>";

/// What to package.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The program, if it is built: that of a release otherwise.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Also install the package in an empty root, run it there, and remove it.
    #[arg(long)]
    check: bool,
}

impl Options {
    /// What CI packages: the program that its tests have built, not compressed much.
    pub(crate) fn of_ci() -> Result<Self> {
        let binary = Some(workspace::target_dir()?.join("debug/underpass"));
        Ok(Self { binary, check: true })
    }
}

/// Makes the package.
///
/// # Errors
///
/// If a program that is needed fails, or the package is not what it should be.
pub(crate) fn run(options: &Options) -> Result<()> {
    let target = workspace::target_dir()?;
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => {
            let mut cargo = workspace::cargo();
            let status = cargo.args(["build", "--release", "-p", "underpass-cli"]).status()?;
            ensure!(status.success(), "cargo build: {status}");
            target.join("release/underpass")
        }
    };
    ensure!(binary.is_file(), "there is no program {}", binary.display());
    let dir = tempfile::tempdir_in(&target)?;
    let tree = dir.path().join("tree");
    lay_out(&tree, &binary)?;
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let depends = libraries(dir.path(), &tree.join("usr/bin/underpass"))?;
    write_control(&tree, &architecture, &depends)?;
    let package = target.join(format!("underpass_{}_{architecture}.deb", version()));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--build"]);
    if options.binary.is_some() {
        build.args(["-Zgzip", "-z1"]);
    }
    output(build.arg(&tree).arg(&package))?;
    println!("{}: depends on {depends}", package.display());
    if options.check { trial::run(dir.path(), &package) } else { Ok(()) }
}

fn version() -> String {
    format!("{}-1", env!("CARGO_PKG_VERSION"))
}

/// Writes a file, and the directories that it is in.
fn put(path: &Path, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
    fs::write(path, content).with_context(|| path.display().to_string())?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// The files of the package.
fn lay_out(tree: &Path, binary: &Path) -> Result<()> {
    let program = tree.join("usr/bin/underpass");
    fs::create_dir_all(tree.join("usr/bin"))?;
    output(Command::new("strip").arg("--strip-unneeded").arg("-o").arg(&program).arg(binary))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let share = tree.join("usr/share");
    let generate = |words: &[&str]| output(Command::new(binary).args(words));
    for (shell, path) in [
        ("bash", "bash-completion/completions/underpass"),
        ("fish", "fish/vendor_completions.d/underpass.fish"),
        ("zsh", "zsh/vendor-completions/_underpass"),
    ] {
        put(&share.join(path), generate(&["completions", shell])? + "\n", 0o644)?;
    }
    put_compressed(&share.join("man/man1/underpass.1"), generate(&["man"])? + "\n")?;
    for command in commands(&generate(&["--help"])?) {
        let path = share.join(format!("man/man1/underpass-{command}.1"));
        put_compressed(&path, generate(&["man", command])? + "\n")?;
    }
    let packaging = workspace::root().join("packaging");
    for (file, path) in [
        ("underpass-serve.service", "usr/lib/systemd/system/underpass-serve.service"),
        ("underpass-serve.socket", "usr/lib/systemd/system/underpass-serve.socket"),
        ("serve.toml", "etc/underpass/serve.toml"),
        ("debian/copyright", "usr/share/doc/underpass/copyright"),
    ] {
        put(&tree.join(path), fs::read(packaging.join(file))?, 0o644)?;
    }
    let changes = fs::read_to_string(workspace::root().join("CHANGELOG.md"))?;
    put_compressed(&share.join("doc/underpass/changelog"), changes)?;
    let (version, date) = (version(), output(Command::new("date").arg("-R"))?);
    let of_package = format!(
        "underpass ({version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n \
         -- {MAINTAINER}  {date}\n"
    );
    put_compressed(&share.join("doc/underpass/changelog.Debian"), of_package)
}

/// The commands that a help text names, but for that of the help itself.
fn commands(help: &str) -> impl Iterator<Item = &str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| line.starts_with("  "));
    let names = listed.filter(|line| !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help")
}

fn put_compressed(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    put(path, content, 0o644)?;
    output(Command::new("gzip").args(["-9n"]).arg(path))?;
    Ok(())
}

/// The packages of the libraries that a program is linked with. `dir` is for what
/// dpkg-shlibdeps(1) wants to have around it.
fn libraries(dir: &Path, program: &Path) -> Result<String> {
    let control = "Source: underpass\n\nPackage: underpass\nArchitecture: any\n";
    put(&dir.join("debian/control"), control, 0o644)?;
    let mut command = Command::new("dpkg-shlibdeps");
    let found = output(command.current_dir(dir).args(["-O", "-e"]).arg(program))?;
    let depends = found.strip_prefix("shlibs:Depends=");
    depends.map(str::to_owned).with_context(|| format!("dpkg-shlibdeps says {found}"))
}

fn write_control(tree: &Path, architecture: &str, depends: &str) -> Result<()> {
    let kibibytes = output(Command::new("du").args(["-sk", "--apparent-size"]).arg(tree))?;
    let kibibytes = kibibytes.split_whitespace().next().context("du says nothing")?;
    let control = format!(
        "Package: underpass\nVersion: {}\nArchitecture: {architecture}\n\
         Maintainer: {MAINTAINER}\n\
         Installed-Size: {kibibytes}\nDepends: {depends}\nSection: net\nPriority: optional\n\
         Description: moves file bytes to sockets beneath user space\n \
         A static file server, a TCP proxy, a log for Kafka's clients, a reader of\n \
         Prometheus' blocks and a copier that leave the bytes in the kernel, and an\n \
         observer that says whether other programs do.\n",
        version(),
    );
    put(&tree.join("DEBIAN/control"), control, 0o644)?;
    put(&tree.join("DEBIAN/conffiles"), "/etc/underpass/serve.toml\n", 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        let text = fs::read(workspace::root().join("packaging/debian").join(script))?;
        put(&tree.join("DEBIAN").join(script), text, 0o755)?;
    }
    let mut sums = Command::new("sh");
    let sum = "find etc usr -type f ! -path etc/underpass/serve.toml -exec md5sum {} + | sort -k2";
    let sums = output(sums.current_dir(tree).args(["-c", sum]))?;
    put(&tree.join("DEBIAN/md5sums"), sums + "\n", 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_that_the_help_lists() {
        let listed = "  serve  Serve\n         more\n  copy   C\n  help   H\n";
        let help = format!("A.\n\nCommands:\n{listed}\nOptions:\n  -h\n");
        assert_eq!(commands(&help).collect::<Vec<_>>(), ["serve", "copy"]);
    }
}
