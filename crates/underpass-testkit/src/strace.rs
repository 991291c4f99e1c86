//! Which system calls a program made: runs it under `strace -f` and reads the record.
//!
//! This is how a test proves the claim "no payload byte entered user memory", and how it puts
//! errors into calls of an unmodified program. A test binary makes its own calls around the
//! test, so the part that counts is put between two [`mark`]s. The tracer slows each call by
//! tens of microseconds: nothing measured under it says anything about time.
//!
//! Source: strace(1), "Tampering" for `-e inject=`; ptrace(2).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Set in the environment of a test that [`Strace::of_test`] runs.
const INSIDE: &str = "UNDERPASS_TRACED";

/// A path that no program opens; asking for it leaves a line in the record.
const MARK: &str = "/underpass-strace-mark";

/// Whether this process was started by [`Strace::of_test`]: the half of a test that does the
/// traced work asks this.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Leaves a line in the record, so that [`Trace::marked`] can cut out what happened between
/// two of them. Costs one failing access(2).
pub fn mark() {
    // The answer is ENOENT by construction; the call itself is the message.
    assert!(!Path::new(MARK).exists(), "{MARK} must not exist");
}

/// A program to be run under strace.
#[derive(Debug)]
pub struct Strace {
    options: Vec<String>,
    program: Command,
}

impl Strace {
    /// Traces a command, children and threads included.
    #[must_use]
    pub fn of(program: Command) -> Self {
        Self { options: Vec::new(), program }
    }

    /// Traces one test of the running test binary, named as [`test_name!`](crate::test_name)
    /// names it. In there [`is_inside`] is true.
    ///
    /// # Errors
    ///
    /// If the running executable cannot be told, see [`std::env::current_exe`].
    pub fn of_test(name: &str) -> io::Result<Self> {
        let mut program = Command::new(std::env::current_exe()?);
        program.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
        Ok(Self::of(program))
    }

    /// Records these calls only, in strace's words: `sendfile,splice` or `%network`. The others
    /// are not slowed.
    ///
    /// A call that faults are put into must be among them.
    #[must_use]
    pub fn only(mut self, calls: &str) -> Self {
        self.options.push("--seccomp-bpf".to_owned());
        self.options.push(format!("--trace={calls},access,faccessat,faccessat2,statx"));
        self
    }

    /// Puts a fault into calls, in strace's words: `copy_file_range:error=EXDEV` or
    /// `sendfile:error=EIO:when=3`.
    #[must_use]
    pub fn inject(mut self, fault: &str) -> Self {
        self.options.push(format!("--inject={fault}"));
        self
    }

    /// Sets a variable in the program's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.program.env(name, value);
        self
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    ///
    /// If strace cannot be started or its record cannot be read. A program that fails is not an
    /// error: see [`Trace::status`].
    pub fn run(&self) -> io::Result<Trace> {
        let record = tempfile::NamedTempFile::new()?;
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-yy", "-s", "16", "-o"]).arg(record.path());
        strace.args(&self.options).arg("--").arg(self.program.get_program());
        strace.args(self.program.get_args()).stdin(Stdio::null());
        for (name, value) in self.program.get_envs() {
            match value {
                Some(value) => strace.env(name, value),
                None => strace.env_remove(name),
            };
        }
        let output = strace.output()?;
        let lines = std::fs::read_to_string(record.path())?;
        Ok(Trace {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            calls: parse(&lines),
        })
    }
}

/// What a traced program did.
#[derive(Debug, Clone)]
pub struct Trace {
    status: ExitStatus,
    stdout: String,
    stderr: String,
    calls: Vec<Call>,
}

/// One system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    /// Its name, as strace spells it: `sendfile`, `pread64`.
    pub name: String,
    /// Its arguments as printed, descriptors with what they refer to: `4<TCP:[…]>, 3</a/b>, …`.
    pub arguments: String,
    /// What it returned; `None` if the thread ended in it or the value is not a number.
    pub returned: Option<i64>,
    /// The error's name if it failed: `EAGAIN`.
    pub errno: Option<String>,
    /// Whether strace answered in the kernel's place.
    pub is_injected: bool,
}

impl Trace {
    /// How the program ended.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// What the program printed.
    #[must_use]
    pub fn stdout(&self) -> &str {
        &self.stdout
    }

    /// Every recorded call, in the order in which they began.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The calls between the first and the last [`mark`], of all threads.
    ///
    /// # Panics
    ///
    /// If there are not two marks: the traced half of the test did not get that far.
    #[must_use]
    pub fn marked(&self) -> &[Call] {
        let marks: Vec<usize> = (0..self.calls.len())
            .filter(|&i| self.calls.get(i).is_some_and(|call| call.arguments.contains(MARK)))
            .collect();
        let (Some(first), Some(last)) = (marks.first(), marks.last()) else {
            panic!("no mark in the record\n{}{}", self.stdout, self.stderr);
        };
        assert!(first < last, "one mark only in the record\n{}{}", self.stdout, self.stderr);
        &self.calls[first + 1..*last]
    }

    /// Asserts that the program ended well, and shows what it printed otherwise.
    ///
    /// # Panics
    ///
    /// If it did not, or if it is a test binary in which no test ran.
    pub fn assert_success(&self) {
        let Self { status, stdout, stderr, .. } = self;
        assert!(status.success(), "{status}\n{stdout}{stderr}");
        assert!(!stdout.contains("running 0 tests"), "no such test\n{stdout}");
    }
}

/// How often each call was made.
#[must_use]
pub fn counts(calls: &[Call]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.name.as_str()).or_insert(0) += 1;
    }
    counts
}

/// How often the named call was made.
#[must_use]
pub fn count(calls: &[Call], name: &str) -> usize {
    calls.iter().filter(|call| call.name == name).count()
}

/// The sum of what the named call returned, failures aside: bytes, for calls that move bytes.
#[must_use]
pub fn bytes(calls: &[Call], name: &str) -> u64 {
    let answers = calls.iter().filter(|call| call.name == name).filter_map(|call| call.returned);
    answers.filter_map(|n| u64::try_from(n).ok()).sum()
}

pub(crate) fn parse(record: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: BTreeMap<u32, usize> = BTreeMap::new();
    for line in record.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Ok(thread) = thread.parse::<u32>() else { continue };
        let rest = rest.trim_start();
        if let Some((_, rest)) = rest.strip_prefix("<... ").and_then(|r| r.split_once(" resumed>"))
        {
            if let Some(call) = unfinished.remove(&thread).and_then(|i| calls.get_mut(i)) {
                call.finish(rest);
            }
        } else if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            if let Some((name, arguments)) = begun.split_once('(') {
                unfinished.insert(thread, calls.len());
                calls.push(Call::begun(thread, name, arguments));
            }
        } else if !rest.starts_with(['+', '-'])
            && let Some((name, rest)) = rest.split_once('(')
        {
            let mut call = Call::begun(thread, name, "");
            call.finish(rest);
            calls.push(call);
        }
    }
    calls
}

impl Call {
    fn begun(thread: u32, name: &str, arguments: &str) -> Self {
        Self {
            thread,
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            returned: None,
            errno: None,
            is_injected: false,
        }
    }

    /// Takes the rest of a line: `more, arguments) = -1 EXDEV (Invalid …) (INJECTED)`.
    fn finish(&mut self, rest: &str) {
        let Some((arguments, answer)) = rest.rsplit_once(") = ").or_else(|| padded(rest)) else {
            self.arguments.push_str(rest);
            return;
        };
        self.arguments.push_str(arguments);
        let mut words = answer.split_whitespace();
        // With -yy a descriptor that is returned is followed by what it refers to: `3</a/b>`.
        let value = words.next().and_then(|word| word.split('<').next());
        self.returned = value.and_then(|word| word.parse().ok());
        self.errno = words.next().filter(|word| word.starts_with('E')).map(str::to_owned);
        self.is_injected = answer.ends_with("(INJECTED)");
    }
}

/// strace pads short calls, so that `)` and `=` may be several spaces apart.
fn padded(rest: &str) -> Option<(&str, &str)> {
    let (call, answer) = rest.rsplit_once(" = ")?;
    Some((call.trim_end().strip_suffix(')')?, answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip::Capability;

    const RECORD: &str = "\
10 sendfile(4<TCP:[127.0.0.1:1->127.0.0.1:2]>, 3</a/b>, [0] => [4096], 4096) = 4096
11 read(5<pipe:[9]>,  <unfinished ...>
10 openat(AT_FDCWD</tmp>, \"x) = 1\", O_RDONLY) = 3</tmp/x) = 1>
11 <... read resumed>\"ab\", 2)            = 2
10 copy_file_range(3, NULL, 4, NULL, 9, 0) = -1 EXDEV (Invalid cross-device link) (INJECTED)
10 --- SIGCHLD {si_signo=SIGCHLD} ---
10 close(3)                                = 0
10 exit_group(0)                           = ?
10 +++ exited with 0 +++
";

    #[test]
    fn a_record_is_read_with_interleaved_threads_errors_and_injected_answers() {
        let calls = parse(RECORD);
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["sendfile", "read", "openat", "copy_file_range", "close", "exit_group"]);
        let answers: Vec<Option<i64>> = calls.iter().map(|call| call.returned).collect();
        assert_eq!(answers, [Some(4096), Some(2), None, Some(-1), Some(0), None]);
        assert_eq!((calls[1].thread, calls[1].arguments.as_str()), (11, "5<pipe:[9]>, \"ab\", 2"));
        assert_eq!(calls[3].errno.as_deref(), Some("EXDEV"));
        assert!(calls[3].is_injected && !calls[4].is_injected);
        assert_eq!((count(&calls, "read"), bytes(&calls, "sendfile")), (1, 4096));
    }

    #[test]
    fn the_calls_between_two_marks_are_counted_and_no_others() {
        if is_inside() {
            std::fs::metadata("/").unwrap();
            mark();
            rustix::io::read(std::fs::File::open("/dev/zero").unwrap(), &mut [0; 5]).unwrap();
            mark();
            return;
        }
        crate::require!(Capability::Strace);
        let trace = Strace::of_test(crate::test_name!()).unwrap().run().unwrap();
        trace.assert_success();
        let calls = trace.marked();
        assert_eq!((count(calls, "read"), bytes(calls, "read")), (1, 5), "{calls:?}");
        assert_eq!(counts(calls).get("openat"), Some(&1), "{calls:?}");
    }

    #[test]
    fn an_injected_error_reaches_the_program() {
        if is_inside() {
            let file = std::fs::File::open("/dev/zero").unwrap();
            assert_eq!(rustix::fs::fsync(&file), Err(rustix::io::Errno::DQUOT));
            return;
        }
        crate::require!(Capability::Strace);
        let trace = Strace::of_test(crate::test_name!())
            .unwrap()
            .only("fsync")
            .inject("fsync:error=EDQUOT")
            .run()
            .unwrap();
        trace.assert_success();
        assert!(trace.calls().iter().any(|call| call.is_injected));
    }
}
