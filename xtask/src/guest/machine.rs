//! The virtual machine, and what it says on its console.
//!
//! qemu's translation has been seen to stand still as a whole: no process of the guest, no timer
//! and no watchdog of its kernel ran. So process 1 gives a sign of life all the while, and a
//! machine that gives none is started anew. One that does may take as long as it likes, for the
//! host may be busy: a test that stands still is noticed within, by what its binary has got done.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// `init.sh` gives a sign of life every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// Machines that are started before it is given up.
const STARTS_MAX: u32 = 2;

const SIGN_OF_LIFE: &str = "GUEST lives";

/// A virtual machine that does not outlive this value.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// How a machine ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// By itself.
    Off,
    /// It said nothing for too long.
    Silent,
}

/// Runs a guest to its end and returns what it wrote to its console.
///
/// # Errors
///
/// If there is no qemu, or if one machine after the other stands still.
pub(super) fn run(kernel: &Path, archive: &Path, disk: &Path) -> Result<Vec<String>> {
    for _ in 0..STARTS_MAX {
        let (said, end) = boot(kernel, archive, disk)?;
        match end {
            End::Off => return Ok(said),
            End::Silent => println!("guest: it gave no sign of life for {SILENCE_MAX:?}"),
        }
    }
    bail!("{STARTS_MAX} guests stood still")
}

fn boot(kernel: &Path, archive: &Path, disk: &Path) -> Result<(Vec<String>, End)> {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-cpu", "max", "-m", "2048", "-smp", "2", "-no-reboot"]);
    qemu.args(["-machine", "pc,hpet=off"]);
    qemu.args(["-nodefaults", "-display", "none", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(archive);
    // Where the host is busy the kernel finds the processor's clock unsteady, and falls back to
    // one whose every reading leaves the translated code; and each tracepoint that is attached
    // waits for a grace period.
    let options = "console=ttyS0 loglevel=4 panic=-1 rdinit=/init tsc=reliable \
                   rcupdate.rcu_expedited=1";
    qemu.args(["-append", options]);
    qemu.arg("-drive").arg(format!("file={},if=virtio,format=raw,cache=unsafe", disk.display()));
    qemu.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut machine =
        Machine(qemu.spawn().context("qemu-system-x86_64, of package qemu-system-x86")?);
    let console = machine.0.stdout.take().context("the console is a pipe")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut said = Vec::new();
    let end = listen(&lines, SILENCE_MAX, &mut |line| {
        writeln!(std::io::stdout(), "{line}")?;
        said.push(line);
        Ok(())
    })?;
    Ok((said, end))
}

/// Hears a machine out, apart from its signs of life.
fn listen(
    lines: &Receiver<String>,
    silence: Duration,
    hear: &mut dyn FnMut(String) -> Result<()>,
) -> Result<End> {
    loop {
        match lines.recv_timeout(silence) {
            Ok(line) if line == SIGN_OF_LIFE => {}
            Ok(line) => hear(line)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(End::Off),
            Err(RecvTimeoutError::Timeout) => return Ok(End::Silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_heard_to_its_end_and_not_past_a_long_silence() {
        let hour = Duration::from_secs(3600);
        let instant = Duration::from_millis(1);
        let (sender, lines) = mpsc::channel();
        for line in ["a", SIGN_OF_LIFE, "b"] {
            sender.send(line.to_owned()).unwrap();
        }
        let mut said = Vec::new();
        let mut heard = |line| {
            said.push(line);
            Ok(())
        };
        assert_eq!(listen(&lines, instant, &mut heard).unwrap(), End::Silent);
        drop(sender);
        assert_eq!(listen(&lines, hour, &mut heard).unwrap(), End::Off);
        assert_eq!(said, ["a", "b"]);
    }
}
