//! Learning of the watched processes while they run: looked at again and again, for a file that
//! a server has open only for a request is seen only then.
//!
//! What was seen once stays known. Looking costs the watcher, but for reading mappings, which keeps
//! the watched from changing them: they are read when there are others than before.
//!
//! Source: proc_pid_fd(5), proc_pid_maps(5), proc_pid_statm(5).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::evidence::{Evidence, FileKind, Socket};
use crate::explain::context::{Context, InterfaceKey};
use crate::explain::networks::Networks;
use crate::explain::runtime;
use crate::proc::{self, Area, Proc};

/// What is known so far.
#[derive(Debug, Default)]
pub(crate) struct Learning {
    pub(crate) context: Context,
    networks: Networks,
    /// What each process executed, and how much it had mapped, when its mappings were read.
    read: BTreeMap<u32, (PathBuf, Option<String>)>,
}

impl Learning {
    /// Looks at a process; of those that are gone stays known what was.
    pub(crate) fn look_at(&mut self, seen: &Proc) {
        let Some(executable) = seen.link("exe") else { return self.look_from_afar(seen) };
        let process = seen.number();
        if !self.read.contains_key(&process) {
            let mounts = seen.text("mountinfo").unwrap_or_default();
            self.context.file_systems.extend(proc::file_systems(&mounts));
        }
        // It may go to another, as what ip-netns(8) executes does.
        self.networks.learn(seen);
        let uses_uring = self.look_at_descriptors(seen);
        let program = self.context.programs.entry(process).or_default();
        program.uses_uring |= uses_uring;
        // The first of its words is how much is mapped.
        let sizes = seen.text("statm").unwrap_or_default();
        let now = (executable, sizes.split(' ').next().map(str::to_owned));
        let before = self.read.entry(process).or_default();
        if *before != now {
            // A program that executed another is known by the later one.
            if before.0 != now.0 {
                program.name = name_of(&now.0);
                program.mapped.clear();
                program.tls_library = None;
                program.runtime = seen.file("exe").and_then(|exe| runtime::of_executable(&exe));
            }
            *before = now;
            self.read_mappings(seen);
        }
    }

    fn read_mappings(&mut self, seen: &Proc) {
        let areas = proc::areas(&seen.text("maps").unwrap_or_default());
        let paths = areas.iter().filter_map(|area| area.file.clone());
        self.context.paths.extend(paths);
        let executable_areas = areas.iter().filter(|area| area.is_executable);
        let program_files = executable_areas.filter_map(|area| Some(area.file.as_ref()?.0));
        self.context.program_files.extend(program_files);
        let program = self.context.programs.entry(seen.number()).or_default();
        program.runtime = runtime::of_libraries(&areas).or(program.runtime);
        program.tls_library = proc::tls_library(&areas).or_else(|| program.tls_library.take());
        // Constants of a program are in a file, too, and what it shares and writes is its memory.
        let is_payload = |area: &&Area| !area.is_written;
        let mapped = areas.iter().filter(is_payload).filter_map(|area| Some(area.file.as_ref()?.0));
        program.mapped.extend(mapped);
    }

    /// Takes a command for what it is called, until it is seen to be another: it may be over before
    /// anybody looks, and was another program before it began.
    pub(crate) fn begin(&mut self, process: u32, command: &str) {
        self.context.is_from_start = true;
        self.context.programs.entry(process).or_default().name = name_of(Path::new(command));
    }

    /// What another user's process shows: its name.
    fn look_from_afar(&mut self, seen: &Proc) {
        let program = self.context.programs.entry(seen.number()).or_default();
        if program.name.is_empty() {
            program.name = seen.name();
        }
    }

    /// Notes the paths of regular files, and returns whether there is an io_uring.
    fn look_at_descriptors(&mut self, seen: &Proc) -> bool {
        let mut uses_uring = false;
        for (target, file, len) in seen.descriptors() {
            uses_uring |= target.as_os_str() == "anon_inode:[io_uring]";
            // What has no path, such as memfd_create(2) makes, is named in place of one.
            if target.is_absolute() && file.kind == FileKind::Regular {
                self.context.sizes.insert(file, len);
                self.context.paths.insert(file, target);
            }
        }
        uses_uring
    }

    /// Asks for the interfaces by which something left.
    pub(crate) fn learn_interfaces(&mut self, evidence: &Evidence) {
        for socket in &evidence.sockets {
            for pages in &socket.sent {
                let key = InterfaceKey { network: socket.network, index: pages.interface };
                if key.index != 0 && !self.context.interfaces.contains_key(&key) {
                    self.context.interfaces.insert(key, self.networks.interface(key));
                }
            }
        }
    }

    /// Bytes in the queues of those of the sockets that no program has any more.
    pub(crate) fn queued(&self, evidence: &Evidence) -> u64 {
        let ends = |socket: &Socket| Some((socket.network, socket.local?, socket.peer?));
        let ours: BTreeSet<_> = evidence.sockets.iter().filter_map(ends).collect();
        let networks: BTreeSet<u64> = ours.iter().map(|(network, ..)| *network).collect();
        let queues = networks.into_iter().flat_map(|network| {
            let queues = self.networks.orphans(network).into_iter();
            queues.map(move |(local, peer, bytes)| ((network, local, peer), bytes))
        });
        queues.filter(|(ends, _)| ours.contains(ends)).map(|(_, bytes)| bytes).sum()
    }

    /// Takes over what the kernel told: where files are, and what programs are called that have
    /// ended, perhaps before a look.
    pub(crate) fn learn_names(&mut self, evidence: &Evidence) {
        for (file, name) in evidence.names.iter() {
            self.context.paths.entry(*file).or_insert_with(|| name.path.clone());
            self.context.sizes.entry(*file).or_insert(name.bytes);
        }
        let ended = evidence.processes.iter().filter(|process| process.has_ended);
        for process in ended.filter(|process| !process.program.is_empty()) {
            let program = self.context.programs.entry(process.process).or_default();
            program.name.clone_from(&process.program);
        }
    }
}

fn name_of(executable: &Path) -> String {
    let name = executable.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.strip_suffix(" (deleted)") {
        Some(known) => known.to_owned(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use underpass_testkit::require;
    use underpass_testkit::skip::Capability::Program;

    use super::*;

    #[test]
    fn this_process_is_known_by_its_program_its_open_file_and_its_mapping_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a").unwrap();
        let mut learning = Learning::default();
        let own = std::process::id();
        learning.look_at(&Proc::open(own).unwrap());
        assert!(learning.context.paths.values().any(|path| path == file.path()));
        let name = learning.context.program_of(own);
        assert!(name.starts_with("underpass_measure"), "{name}");
        assert!(!learning.context.file_systems.is_empty());
    }

    #[test]
    fn what_a_process_maps_after_a_look_is_known_after_the_next() {
        require!(Program("python3"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a").unwrap();
        let maps = "import mmap, sys\nfile = open(sys.argv[1])\nprint(flush=True)\ninput()\n\
                    it = mmap.mmap(file.fileno(), 0, prot=1)\nprint(flush=True)\ninput()";
        let mut command = Command::new("python3");
        command.args(["-c", maps]).arg(file.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let process = Proc::open(child.id()).unwrap();
        let (mut learning, mut said) = (Learning::default(), [0]);
        let mapped = [false, true].map(|_| {
            child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
            learning.look_at(&process);
            learning.look_at(&process);
            child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            let Context { programs, paths, .. } = &learning.context;
            let mut mapped = programs[&child.id()].mapped.iter();
            mapped.any(|mapped| paths.get(mapped).is_some_and(|path| path == file.path()))
        });
        child.wait().unwrap();
        assert_eq!(mapped, [false, true]);
    }
}
