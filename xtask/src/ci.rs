//! `cargo xtask ci`: everything that must hold, in one command.
//!
//! Each step is printed as the command that repeats it. A failing step does not keep the others
//! from running. What failed is named at the end, with what failed tests said, before the last
//! line, which is the sum of all tests. A bare Debian machine with Rust and root is enough: what
//! else is needed is installed first. On two CPUs the whole takes less than half an hour, of which
//! most is compiling.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::bench::{self, Bench};
use crate::outcome::{Expectation, FailedTests, Tally};
use crate::{bpf, fuzz, guest, long, package, programs, tidy, without_features};
use underpass_testkit::workspace;

/// Programs that steps and tests start, and Debian's packages that have them.
const NEEDED: [(&str, &str); 56] = [
    ("7z", "p7zip-full"),
    ("apache2", "apache2-bin"),
    ("bash", "bash"),
    ("bsdtar", "libarchive-tools"),
    ("c++", "g++"),
    ("cc", "gcc"),
    ("caddy", "caddy"),
    ("chromium", "chromium"),
    ("clang-14", "clang-14"),
    ("cpio", "cpio"),
    ("curl", "curl"),
    ("busybox", "busybox-static"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("ethtool", "ethtool"),
    ("git", "git"),
    ("go", "golang-go"),
    ("h2load", "nghttp2-client"),
    ("haproxy", "haproxy"),
    ("htpasswd", "apache2-utils"),
    ("ip", "iproute2"),
    ("javac", "default-jdk-headless"),
    ("kcat", "kcat"),
    ("ldd", "libc-bin"),
    ("lighttpd", "lighttpd"),
    ("llvm-strip-14", "llvm-14"),
    ("losetup", "mount"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mount", "mount"),
    ("mvn", "maven"),
    ("nc", "netcat-openbsd"),
    ("nghttp", "nghttp2-client"),
    ("nginx", "nginx-light"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("rsync", "rsync"),
    ("script", "bsdutils"),
    ("setcap", "libcap2-bin"),
    ("slowhttptest", "slowhttptest"),
    ("smbclient", "smbclient"),
    ("smbd", "samba"),
    ("socat", "socat"),
    ("strace", "strace"),
    ("strip", "binutils"),
    ("systemd-analyze", "systemd"),
    ("taskset", "util-linux"),
    ("tc", "iproute2"),
    ("unshare", "util-linux"),
    ("unzip", "unzip"),
    ("varnishd", "varnish"),
    ("vsftpd", "vsftpd"),
];

/// Why a test skips that only root can run.
const NOT_ROOT: &str = "not root";

/// The steps so far.
struct Run {
    tally: Tally,
    failures: Vec<String>,
    failed_tests: FailedTests,
    skips_file: std::path::PathBuf,
    /// Takes what the programs came to that tests watch.
    programs: std::path::PathBuf,
}

/// Runs every step.
///
/// # Errors
///
/// If one failed; its name is in the message.
pub(crate) fn run() -> Result<()> {
    let skips_file = workspace::target_dir()?.join("ci-skips");
    match std::fs::remove_file(&skips_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("{}: {error}", skips_file.display())
        }
        Ok(()) | Err(_) => {}
    }
    let mut run = Run::new(skips_file, programs::empty_dir()?);
    run.step("packages", |_| install());
    for (name, arguments) in [
        ("format", &["fmt", "--all", "--check"][..]),
        (
            "clippy",
            &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"],
        ),
        (
            "clippy without features",
            &["clippy", "-p=underpass", "--no-default-features", "--", "-D", "warnings"],
        ),
    ] {
        run.step(name, |_| cargo(arguments));
    }
    run.step("tidy", |_| tidy::run(&tidy::Options::default()));
    run.step("programs for the kernel", |_| bpf::run(&bpf::Options::of_ci()));
    for (name, arguments) in [
        ("tests", &["--workspace", "--all-features"][..]),
        ("tests without features", &["-p=underpass", "--no-default-features"]),
    ] {
        run.step(name, |run| run.tests(arguments));
    }
    run.step(
        "page of programs",
        |run| {
            if is_root() { programs::check(&run.programs) } else { Ok(()) }
        },
    );
    run.step("tests of every interleaving", Run::interleavings);
    run.step("documentation", |_| documentation());
    run.step("licences and sources", |_| deny());
    run.step("examples", |_| cargo(&["build", "--workspace", "--all-features", "--examples"]));
    run.step("build without features", |_| without_features::run());
    run.step("package", |_| package::run(&package::Options::of_ci()?));
    run.step("fuzz", |_| fuzz::run(&fuzz::Options::default()));
    let mut benches = Vec::new();
    run.step("names of benches", |_| {
        benches = bench::all()?;
        Ok(())
    });
    for bench in &benches {
        run.step(&format!("bench {}", bench.name), |run| run.bench(bench));
    }
    run.step("guest", |run| {
        let tally = guest::run(&guest::Options::default())?;
        run.tally.add_all(tally);
        Ok(())
    });
    run.step("skipped tests", Run::skips);
    run.end()
}

impl Run {
    fn new(skips_file: std::path::PathBuf, programs: std::path::PathBuf) -> Self {
        let failed_tests = FailedTests::default();
        Self { tally: Tally::default(), failures: Vec::new(), failed_tests, skips_file, programs }
    }

    fn step(&mut self, name: &str, step: impl FnOnce(&mut Self) -> Result<()>) {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = step(self);
        println!("== {name}: {} s", start.elapsed().as_secs());
        if let Err(error) = outcome {
            println!("error: {error:#}");
            self.failures.push(name.to_owned());
        }
    }

    /// Runs `cargo test` and counts what it prints.
    fn tests(&mut self, arguments: &[&str]) -> Result<()> {
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--no-fail-fast"]).args(arguments);
        self.count(cargo)
    }

    /// Shows that a bench runs.
    fn bench(&mut self, bench: &Bench) -> Result<()> {
        if bench.needs_root && !is_root() {
            println!("SKIP bench {}: {NOT_ROOT}", bench.name);
            self.tally.skipped += 1;
            return Ok(());
        }
        let mut arguments = vec!["xtask", "bench"];
        arguments.extend(bench.name.split(' '));
        arguments.push("--smoke");
        cargo(&arguments)
    }

    /// Runs the tests of lock-free code under loom, which the compiler must be told of.
    fn interleavings(&mut self) -> Result<()> {
        let mut cargo = workspace::cargo();
        cargo.args(["test", "-p=underpass-sys", "--lib", "slots::"]);
        cargo.env("RUSTFLAGS", "--cfg loom");
        cargo.env("CARGO_TARGET_DIR", workspace::target_dir()?.join("loom"));
        self.count(cargo)
    }

    fn count(&mut self, mut cargo: Command) -> Result<()> {
        cargo.env("UNDERPASS_SKIPS", &self.skips_file).env(programs::OUTCOMES, &self.programs);
        announce(&cargo);
        let mut child = cargo.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("the output is a pipe")?;
        let before = self.tally;
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            self.tally.add(&line);
            self.failed_tests.add(&line);
        }
        ensure!(child.wait()?.success(), "a test failed");
        ensure!(self.tally.passed > before.passed, "no test ran");
        Ok(())
    }

    /// Compares what was skipped with what this kind of machine is expected to skip.
    fn skips(&mut self) -> Result<()> {
        let skips: Vec<String> = if self.skips_file.exists() {
            std::fs::read_to_string(&self.skips_file)?.lines().map(str::to_owned).collect()
        } else {
            Vec::new()
        };
        for skip in &skips {
            println!("{skip}");
        }
        self.tally.skipped += skips.len();
        let mut expected = Expectation::read("expected-skips.txt")?;
        if !is_root() {
            expected = expected.or_for(&skips, NOT_ROOT);
        }
        long::print(&skips);
        expected.compare(&skips).map(drop)
    }

    fn end(self) -> Result<()> {
        if !self.failed_tests.lines().is_empty() {
            println!("\n== what failed tests said\n{}", self.failed_tests.lines().join("\n"));
        }
        println!();
        let failed = self.failures.join(", ");
        if !self.failures.is_empty() {
            println!("failed: {failed}");
        }
        println!("{}", self.tally);
        if self.failures.is_empty() { Ok(()) } else { Err(crate::Told.into()) }
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs what is missing, as root; otherwise names it.
fn install() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> =
        std::env::split_paths(&path).chain([Path::new("/usr/sbin").into()]).collect();
    let is_there = |program: &str| dirs.iter().any(|dir| dir.join(program).is_file());
    let mut packages: Vec<&str> = Vec::new();
    for (program, package) in NEEDED {
        if !is_there(program) && !packages.contains(&package) {
            packages.push(package);
        }
    }
    if packages.is_empty() {
        println!("all {} programs are there", NEEDED.len());
        return Ok(());
    }
    let list = packages.join(" ");
    ensure!(is_root(), "as root: apt-get install {list}");
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    succeed(apt().args(["-q", "update"]))?;
    let mut install = apt();
    succeed(install.args(["-q", "install", "-y", "--no-install-recommends"]).args(packages))
}

fn documentation() -> Result<()> {
    let mut cargo = workspace::cargo();
    // The program and the engine's library have the same name, and one page would be lost.
    cargo.args(["doc", "--workspace", "--lib", "--no-deps", "--all-features"]);
    succeed(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> Result<()> {
    need("deny")?;
    cargo(&["deny", "check", "licenses", "bans", "sources"])
}

/// Installs a subcommand of cargo if it is missing, which takes some minutes once.
pub(crate) fn need(subcommand: &str) -> Result<()> {
    let mut version = workspace::cargo();
    version.args([subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if version.status()?.success() {
        return Ok(());
    }
    // Unoptimised: it runs for a second and is built once per machine.
    cargo(&["install", &format!("cargo-{subcommand}"), "--locked", "--debug"])
}

pub(crate) fn cargo(arguments: &[&str]) -> Result<()> {
    succeed(workspace::cargo().args(arguments))
}

/// Prints a command and runs it.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status()?;
    let name = command.get_program().to_string_lossy();
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}

fn announce(command: &Command) {
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let variables = variables
        .map(|(name, value)| format!("{}='{}' ", name.to_string_lossy(), value.to_string_lossy()));
    let program = Path::new(command.get_program()).file_name().map(OsStr::to_string_lossy);
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let program = program.unwrap_or_default();
    println!("$ {}{program} {}", variables.collect::<String>(), words.join(" "));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Run {
        Run::new("no/such/file".into(), "no/such/dir".into())
    }

    #[test]
    fn a_failed_step_lets_the_next_run_and_fails_the_whole() {
        let mut run = fresh();
        let mut ran = 0;
        run.step("first", |_| bail!("on purpose"));
        run.step("second", |_| {
            ran += 1;
            Ok(())
        });
        assert_eq!((ran, run.failures.as_slice()), (1, &["first".to_owned()][..]));
        assert!(run.end().unwrap_err().is::<crate::Told>());
        assert!(fresh().end().is_ok());
    }

    #[test]
    fn a_command_that_fails_fails_its_step() {
        succeed(&mut Command::new("true")).unwrap();
        let error = succeed(&mut Command::new("false")).unwrap_err();
        assert_eq!(error.to_string(), "false: exit status: 1");
    }
}
