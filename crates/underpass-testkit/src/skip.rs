//! Tests that need what this machine may lack: skipped, but never silently.
//!
//! A test that returns early reads as passed. Here it prints `SKIP <test>: <why>` past libtest's
//! capture and appends the same to a file, which CI compares with the list it expects of that
//! kind of machine; a capability that disappears therefore fails the run.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names the file that skips are appended to; `target/skips` of the workspace without it.
pub const SKIPS_FILE_VARIABLE: &str = "UNDERPASS_SKIPS";

/// Lets long tests run if it is set.
pub const LONG_VARIABLE: &str = "UNDERPASS_LONG";

/// Why a long test did not run.
pub const LONG: &str = "a long test";

/// Why a test cannot run here, in the words the SKIP line ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(String);

impl Missing {
    /// States what is missing: a noun and, where one is known, the remedy. Of several lines, such
    /// as a program prints, the first: each skip has one in the file.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into().lines().next().unwrap_or_default().to_owned())
    }

    /// What is missing.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.0
    }
}

/// What a test can ask of the machine before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Effective user 0: mounts, cgroups, raised limits.
    Root,
    /// `strace` is installed and may attach (ptrace(2) is not forbidden).
    Strace,
    /// The io_uring interface exists and is not disabled for this process.
    Uring,
    /// Kernel TLS is an upper layer protocol of TCP (`tcp_available_ulp`).
    KernelTls,
    /// The processor is not emulated by qemu, which takes minutes for gigabytes.
    RealProcessor,
    /// A program is on the `PATH`.
    Program(&'static str),
    /// There is time for minutes: `cargo xtask ci --long`, which runs the tests that
    /// `xtask/expected-skips.txt` names for this reason.
    Long,
}

/// Something [`require!`](crate::require) can ask for.
pub trait Requirement {
    /// What the test gets if it is there.
    type Given;

    /// Looks for it.
    ///
    /// # Errors
    ///
    /// [`Missing`] if it is not there.
    fn meet(self) -> Result<Self::Given, Missing>;
}

impl Requirement for Capability {
    type Given = ();

    fn meet(self) -> Result<(), Missing> {
        match self {
            Self::Root if rustix::process::geteuid().is_root() => Ok(()),
            Self::Root => Err(Missing::new("not root")),
            Self::Strace => strace_attaches(),
            Self::Uring => uring_is_enabled(),
            Self::KernelTls => tls_is_available(),
            Self::RealProcessor => processor_is_real(),
            Self::Program(name) => on_the_path(name),
            Self::Long if is_long() => Ok(()),
            Self::Long => Err(Missing::new(LONG)),
        }
    }
}

impl<T> Requirement for Result<T, Missing> {
    type Given = T;

    fn meet(self) -> Self {
        self
    }
}

/// Evaluates to what was asked for, or ends the test as skipped.
///
/// Takes a [`Capability`], or a `Result<T, Missing>` such as [`Disk::new`](crate::disk::Disk::new)
/// gives.
#[macro_export]
macro_rules! require {
    ($requirement:expr) => {
        match $crate::skip::Requirement::meet($requirement) {
            Ok(given) => given,
            Err(missing) => {
                $crate::skip::record($crate::test_name!(), env!("CARGO_PKG_NAME"), &missing);
                return;
            }
        }
    };
}

/// The name by which libtest knows the enclosing test function: `module::test`.
///
/// The thread's name would not do: under `--test-threads=1` it is `main`.
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        $crate::skip::libtest_name(std::any::type_name_of_val(&here))
    }};
}

/// Turns `crate::module::test::here` into `module::test`.
#[doc(hidden)]
#[must_use]
pub fn libtest_name(here: &'static str) -> &'static str {
    let inside = here.split_once("::").map_or(here, |(_crate, rest)| rest);
    let name = inside.strip_suffix("::here").unwrap_or(inside);
    name.trim_end_matches("::{{closure}}")
}

/// Prints and records a skipped test.
///
/// # Panics
///
/// If the skip cannot be recorded: an unrecorded skip would read as a pass.
#[doc(hidden)]
pub fn record(test: &str, package: &str, missing: &Missing) {
    let line = format!("SKIP {package} {test}: {}\n", missing.why());
    let file = skips_file();
    append(&file, &line)
        .unwrap_or_else(|error| panic!("{} cannot take a SKIP line: {error}", file.display()));
    io::stderr().lock().write_all(line.as_bytes()).expect("stderr is open in a test");
}

fn skips_file() -> PathBuf {
    std::env::var_os(SKIPS_FILE_VARIABLE).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/skips"),
        PathBuf::from,
    )
}

/// One write(2) with `O_APPEND`, so that lines of concurrent tests do not mix.
fn append(file: &Path, line: &str) -> io::Result<()> {
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().append(true).create(true).open(file)?.write_all(line.as_bytes())
}

/// Whether long tests run.
#[must_use]
pub fn is_long() -> bool {
    std::env::var_os(LONG_VARIABLE).is_some()
}

fn on_the_path(name: &str) -> Result<(), Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    if found { Ok(()) } else { Err(Missing::new(format!("{name} is not installed"))) }
}

fn strace_attaches() -> Result<(), Missing> {
    on_the_path("strace")?;
    let status = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) | Err(_) => Err(Missing::new("ptrace is not permitted")),
    }
}

fn uring_is_enabled() -> Result<(), Missing> {
    // Documentation/admin-guide/sysctl/kernel.rst: 2 disables it for all, 1 for processes
    // without CAP_SYS_ADMIN; kernels before 6.6 have no such file.
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    match setting.as_deref().map(str::trim) {
        Ok("2") => Err(Missing::new("kernel.io_uring_disabled is 2")),
        Ok("1") if !rustix::process::geteuid().is_root() => {
            Err(Missing::new("kernel.io_uring_disabled is 1 and this is not root"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn tls_is_available() -> Result<(), Missing> {
    let listed = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp")
        .is_ok_and(|list| list.split_whitespace().any(|ulp| ulp == "tls"));
    if listed { Ok(()) } else { Err(Missing::new("the kernel has no TLS (tcp_available_ulp)")) }
}

fn processor_is_real() -> Result<(), Missing> {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // The model's name, of its `max` too.
    if processors.contains("QEMU TCG CPU") {
        return Err(Missing::new("the processor is one that qemu makes up"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_knows_the_name_libtest_gives_it() {
        assert_eq!(crate::test_name!(), "skip::tests::a_test_knows_the_name_libtest_gives_it");
        let in_a_closure = || crate::test_name!();
        assert_eq!(in_a_closure(), crate::test_name!());
    }

    #[test]
    fn a_reason_is_one_line_whatever_a_program_printed() {
        assert_eq!(Missing::new("cp: no such option\nUsage: cp").why(), "cp: no such option");
    }

    #[test]
    fn a_met_requirement_gives_its_value_and_the_test_goes_on() {
        let given = crate::require!(Ok::<_, Missing>(7));
        assert_eq!(given, 7);
    }

    #[test]
    fn a_missing_program_is_named() {
        let missing = Capability::Program("no-such-program").meet().unwrap_err();
        assert_eq!(missing.why(), "no-such-program is not installed");
        assert_eq!(Capability::Program("sh").meet(), Ok(()));
    }

    #[test]
    fn a_long_test_runs_where_it_is_asked_for_and_says_so_otherwise() {
        let met = Capability::Long.meet().map_err(|missing| missing.why().to_owned());
        assert_eq!(met, if is_long() { Ok(()) } else { Err(LONG.to_owned()) });
    }

    #[test]
    fn skips_are_appended_one_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/skips");
        append(&file, "SKIP a b: c\n").unwrap();
        append(&file, "SKIP d e: f\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "SKIP a b: c\nSKIP d e: f\n");
    }
}
