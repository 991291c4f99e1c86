//! The echo server, with and without a file that keeps what came.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType};
use underpass_relay::{BindError, Echo, EchoOptions, Endpoint, Settings, Sink};
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::{require, wait};

use crate::fixture::{PATIENCE, unix};

const LEN: u64 = 16_777_217;

pub(crate) fn options(tee: Option<PathBuf>) -> EchoOptions {
    EchoOptions {
        daemon: Settings {
            listen: vec!["0".parse().unwrap()],
            workers: NonZeroUsize::MIN,
            grace: None,
            connections_max: None,
            connections_per_address: None,
            metrics: None,
            log: Sink::Off,
        },
        tee,
        idle_timeout: None,
        keep_alive: None,
        exit_idle: None,
    }
}

/// An echo server that runs until the process ends.
pub(crate) fn start(options: EchoOptions) -> Endpoint {
    let echo = Echo::bind(options).unwrap();
    let endpoint = echo.endpoints()[0].clone();
    thread::spawn(move || echo.run().unwrap());
    endpoint
}

pub(crate) fn address(endpoint: &Endpoint) -> SocketAddr {
    let Endpoint::Tcp(address) = endpoint else { panic!("{endpoint} is TCP") };
    *address
}

pub(crate) fn round_trip(endpoint: &Endpoint, bytes: Vec<u8>) -> Vec<u8> {
    let mut client = TcpStream::connect(address(endpoint)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut sender = client.try_clone().unwrap();
    let sending = thread::spawn(move || {
        sender.write_all(&bytes).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    sending.join().unwrap();
    got
}

#[test]
fn what_is_sent_comes_back() {
    let endpoint = start(options(None));
    for len in [0, 1, 64, 16_384, 65_537, LEN] {
        let got = round_trip(&endpoint, pattern(0..len));
        assert_eq!(difference(&got, 0, len), None, "{len}");
    }
}

#[test]
fn what_came_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kept");
    fs::write(&file, "of before").unwrap();
    let endpoint = start(options(Some(file.clone())));
    for len in [1, 65_537, LEN] {
        let before = fs::read(&file).unwrap().len();
        let got = round_trip(&endpoint, pattern(0..len));
        assert_eq!(difference(&got, 0, len), None, "{len}");
        assert_eq!(difference(&fs::read(&file).unwrap()[before..], 0, len), None, "{len}");
    }
}

#[test]
fn what_two_clients_send_at_once_is_kept_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kept");
    let endpoint = start(options(Some(file.clone())));
    thread::scope(|scope| {
        for byte in [b'a', b'b'] {
            let endpoint = &endpoint;
            scope.spawn(move || {
                let got = round_trip(endpoint, vec![byte; 4_000_001]);
                assert!(got == vec![byte; 4_000_001]);
            });
        }
    });
    let kept = fs::read(&file).unwrap();
    let count = |wanted: u8| kept.iter().filter(|&&byte| byte == wanted).count();
    assert_eq!((count(b'a'), count(b'b'), kept.len()), (4_000_001, 4_000_001, 8_000_002));
}

/// A connection that takes little before it is read, and does not block.
fn with_little_room(to: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&socket, 1 << 16).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Each that reads nothing holds pipes, and would hold them for ever.
#[test]
fn clients_that_read_nothing_are_given_up_and_keep_no_other_from_being_served() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kept");
    let mut wanted = options(Some(file));
    wanted.idle_timeout = Some(Duration::from_millis(500));
    let endpoint = start(wanted);
    // Two pipes each of the 256 that a worker has.
    let greedy: Vec<TcpStream> = (0..129).map(|_| with_little_room(address(&endpoint))).collect();
    // The server moves on while they write, so one refusal is not the end.
    let mut refused = 0;
    let stuck = wait::until(PATIENCE, || {
        let more = |mut client: &TcpStream| client.write(&[b'!'; 65_536]).is_ok();
        let is_any = greedy.iter().filter(|client| more(client)).count() > 0;
        refused = if is_any { 0 } else { refused + 1 };
        (refused == 20).then_some(())
    });
    stuck.expect("a client that reads nothing is stopped");
    let got = round_trip(&endpoint, pattern(0..LEN));
    assert_eq!(difference(&got, 0, LEN), None);
    for client in greedy {
        // Both directions are over by a reset alone, as long as the client ends none.
        let limit = Timespec::try_from(PATIENCE).unwrap();
        let mut ended = [PollFd::new(&client, PollFlags::empty())];
        assert_eq!(rustix::event::poll(&mut ended, Some(&limit)), Ok(1));
        assert!(ended[0].revents().contains(PollFlags::HUP));
    }
}

#[test]
fn a_file_that_takes_nothing_is_refused_or_ends_the_connection() {
    let error = Echo::bind(options(Some("/dev/null".into()))).unwrap_err();
    assert!(matches!(error, BindError::Tee { .. }), "{error}");
    let error = Echo::bind(options(Some("/no/such/file".into()))).unwrap_err();
    assert_eq!(error.to_string(), "cannot keep what is echoed in /no/such/file");
}

#[test]
fn nc_and_socat_get_back_what_they_send() {
    require!(Program("nc"));
    require!(Program("socat"));
    let dir = tempfile::tempdir().unwrap();
    let (file, path) = (dir.path().join("in"), dir.path().join("listen"));
    fs::write(&file, pattern(0..LEN)).unwrap();
    let mut wanted = options(None);
    wanted.daemon.listen = vec![unix(&path)];
    let by_path = start(wanted);
    let by_port = start(options(None));
    let mut nc = Command::new("nc");
    nc.args(["-N", "127.0.0.1", &address(&by_port).port().to_string()]);
    let mut socat = Command::new("socat");
    let Endpoint::Unix(path) = by_path else { panic!("{by_path} is a path") };
    socat.args(["-t", "20", "-", &format!("UNIX-CONNECT:{}", path.display())]);
    for program in [&mut nc, &mut socat] {
        let input = fs::File::open(&file).unwrap();
        let output = program.stdin(input).stderr(Stdio::inherit()).output().unwrap();
        assert_eq!(difference(&output.stdout, 0, LEN), None, "{program:?}");
    }
}
