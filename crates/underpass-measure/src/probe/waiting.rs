//! What no call's return tells: calls that have not returned, and the sockets of an io_uring.
//!
//! A thread that runs at that moment is in no call that it waits in, and is left out.
//!
//! Source: proc_pid_syscall(5).

use std::collections::BTreeSet;

use crate::call;
use crate::evidence::{Calls, FileId, FileKind, Memory};
use crate::proc::{self, Proc};

/// The calls that threads of a process wait in, of those that move bytes.
pub(super) fn calls_of(process: u32) -> Vec<Calls> {
    let Some(proc) = Proc::open(process) else { return Vec::new() };
    let threads = proc.numbers("task");
    let texts = threads.filter_map(|thread| proc.text(&format!("task/{thread}/syscall")));
    texts.filter_map(|text| call_in(&proc, &text)).collect()
}

fn call_in(proc: &Proc, text: &str) -> Option<Calls> {
    let mut fields = text.split_whitespace();
    let number = fields.next()?.parse().ok()?;
    let hexadecimal = |field: &str| u64::from_str_radix(field.strip_prefix("0x")?, 16).ok();
    let arguments: Vec<u64> = fields.filter_map(hexadecimal).collect();
    let [source, target, buffer] = call::ends(number, &arguments)?;
    let file = |fd: u64| Some(proc.at(&format!("fd/{}", fd & u64::from(u32::MAX)))?.0);
    let (source, target) = (source.and_then(file), target.and_then(file));
    let is_to_socket = target.is_some_and(|target| target.kind == FileKind::Socket);
    let memory = buffer.filter(|_| is_to_socket).map(|at| memory_at(proc, at));
    let memory = memory.unwrap_or_default();
    Some(Calls { process: proc.number(), number, source, target, memory, ..Calls::default() })
}

/// As the kernel tells it of calls that returned: what is of the program is the process's own.
fn memory_at(proc: &Proc, at: u64) -> Memory {
    let areas = proc::areas(&proc.text("maps").unwrap_or_default());
    let Some(area) = areas.iter().find(|area| (area.start..area.end).contains(&at)) else {
        return Memory::NotSeen;
    };
    let file = |area: &proc::Area| area.file.as_ref().map(|(file, _)| *file);
    let program = areas.iter().filter(|area| area.is_executable).filter_map(file);
    let program: BTreeSet<FileId> = program.collect();
    let file = file(area).filter(|file| !program.contains(file));
    file.map_or(Memory::Own, Memory::File)
}

/// The sockets of a process that has an io_uring, whose operations no call tells.
pub(super) fn sockets_of_ring(process: u32) -> Vec<u64> {
    let Some(proc) = Proc::open(process) else { return Vec::new() };
    let (mut has_ring, mut sockets) = (false, Vec::new());
    for (target, file, _) in proc.descriptors() {
        has_ring |= target.as_os_str() == "anon_inode:[io_uring]";
        if file.kind == FileKind::Socket {
            sockets.push(file.inode);
        }
    }
    if has_ring { sockets } else { Vec::new() }
}
