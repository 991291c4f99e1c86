use std::env;
use std::io;
use std::process::Command;

use rustix::fs::MemfdFlags;
use rustix::net::{AddressFamily, SocketType};

use super::*;
use crate::Sandbox;

/// Runs the program as the kernel does, for a call with these arguments: whether it is allowed.
/// Source: linux/filter.h; `struct seccomp_data` in linux/seccomp.h.
fn allows(program: &BpfProgram, architecture: u32, call: c_long, arguments: [u64; 6]) -> bool {
    let call = u32::try_from(call).unwrap();
    let mut data = vec![call, architecture, 0, 0];
    let half = |it: u64| u32::try_from(it & u64::from(u32::MAX)).unwrap();
    data.extend(arguments.iter().flat_map(|it| [half(*it), half(it >> 32)]));
    let (mut accumulator, mut at) = (0, 0);
    loop {
        let instruction = &program[at];
        at += 1;
        let (jump, k) = (instruction.code & 7 == 5, instruction.k);
        let holds = match instruction.code {
            0x20 => {
                accumulator = data[k as usize / 4];
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x06 => return k == 0x7fff_0000,
            0x05 => {
                at += k as usize;
                continue;
            }
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            code => panic!("an instruction of the code {code:#x}"),
        };
        assert!(jump);
        at += usize::from(if holds { instruction.jt } else { instruction.jf });
    }
}

/// linux/audit.h: that of this program, and of x86 with 32 bits.
const OURS: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };
const OTHER: u32 = 0x4000_0003;

#[test]
fn a_server_has_the_calls_of_its_work_and_no_others() {
    let program = program().unwrap();
    let none = [0; 6];
    for call in [libc::SYS_sendfile, libc::SYS_accept4, libc::SYS_futex, libc::SYS_exit_group] {
        assert!(allows(&program, OURS, call, none), "{call}");
        assert!(!allows(&program, OTHER, call, none), "{call} by another architecture");
        assert!(!allows(&program, OURS, call | 0x4000_0000, none), "{call} as x32 has it");
    }
    for call in [
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_clone3,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_fsopen,
        libc::SYS_move_mount,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_open_by_handle_at,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_personality,
        libc::SYS_setuid,
        libc::SYS_capset,
        libc::SYS_kill,
        libc::SYS_mknodat,
        libc::SYS_memfd_create,
        libc::SYS_seccomp,
    ] {
        assert!(!allows(&program, OURS, call, none), "{call}");
    }
}

#[test]
fn arguments_say_whether_a_call_may_be_made() {
    let program = program().unwrap();
    let (read, write, execute) = (libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC);
    // glibc's pthread_create(3), and what a process would be made with.
    let thread = 0x003d_0f00;
    for (call, argument, value, is_allowed) in [
        (libc::SYS_clone, 0, bits(thread), true),
        (libc::SYS_clone, 0, bits(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD), false),
        (libc::SYS_clone, 0, bits(libc::CLONE_NEWUSER), false),
        (libc::SYS_mmap, 2, bits(read | write), true),
        (libc::SYS_mmap, 2, bits(read | execute), true),
        (libc::SYS_mmap, 2, bits(write | execute), false),
        (libc::SYS_mprotect, 2, bits(read | write), true),
        (libc::SYS_mprotect, 2, bits(read | execute), false),
        (libc::SYS_socket, 0, bits(libc::AF_INET6), true),
        (libc::SYS_socket, 0, bits(libc::AF_UNIX), true),
        (libc::SYS_socket, 0, bits(libc::AF_NETLINK), false),
        (libc::SYS_socket, 0, bits(libc::AF_PACKET), false),
        (libc::SYS_socket, 0, bits(libc::AF_ALG), false),
        (libc::SYS_ioctl, 1, libc::FIONREAD, true),
        (libc::SYS_ioctl, 1, libc::TIOCSTI, false),
        (libc::SYS_ioctl, 1, libc::TIOCSTI | 1 << 32, false),
        (libc::SYS_ioctl, 1, libc::TIOCLINUX, false),
        (libc::SYS_prctl, 0, bits(libc::PR_SET_NAME), true),
        (libc::SYS_prctl, 0, bits(libc::PR_SET_DUMPABLE), false),
        (libc::SYS_prlimit64, 0, 0, true),
        (libc::SYS_prlimit64, 0, 1, false),
    ] {
        let mut arguments = [0; 6];
        arguments[argument] = value;
        let allowed = allows(&program, OURS, call, arguments);
        assert_eq!(allowed, is_allowed, "{call} {value:#x}");
    }
}

/// What says to a process that it is the one to be restricted.
const RESTRICTED: &str = "UNDERPASS_TEST_RESTRICTED";

#[test]
fn a_confined_process_is_refused_by_the_kernel() {
    if env::var_os(RESTRICTED).is_none() {
        let name = "sandbox::calls::tests::a_confined_process_is_refused_by_the_kernel";
        let mut test = Command::new(env::current_exe().unwrap());
        test.args(["--exact", name]).env(RESTRICTED, "");
        let output = test.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains(" 1 passed; "), "{said}");
        return;
    }
    // Before there is a restriction.
    let older = std::thread::spawn(|| {
        std::thread::park();
        rustix::fs::memfd_create("a", MemfdFlags::CLOEXEC).unwrap_err()
    });
    rustix::fs::memfd_create("a", MemfdFlags::CLOEXEC).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    Sandbox::new().enter();
    let no_such_call = io::Error::from_raw_os_error(libc::ENOSYS).kind();
    assert_eq!(Command::new("true").status().unwrap_err().kind(), no_such_call);
    let family = AddressFamily::NETLINK;
    assert!(rustix::net::socket(family, SocketType::RAW, None).is_err());
    let refused = || rustix::fs::memfd_create("a", MemfdFlags::CLOEXEC).unwrap_err();
    let younger = std::thread::spawn(refused).join().unwrap();
    older.thread().unpark();
    for error in [refused(), younger, older.join().unwrap()] {
        assert_eq!(error.raw_os_error(), libc::ENOSYS);
    }
    // Landlock knows of TCP since Linux 6.7.
    if has_network_rules() {
        let denied = io::ErrorKind::PermissionDenied;
        let connected = std::net::TcpStream::connect(address);
        assert_eq!(connected.unwrap_err().kind(), denied);
        assert_eq!(std::net::TcpListener::bind("127.0.0.1:0").unwrap_err().kind(), denied);
    }
}

/// Whether the kernel restricts TCP, as far as its version tells.
fn has_network_rules() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|it| it.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(7))
}
