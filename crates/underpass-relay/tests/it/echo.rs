//! The echo server, with and without a file that keeps what came.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use underpass_relay::{BindError, Echo, EchoOptions, Endpoint, Sink};
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::require;
use underpass_testkit::skip::Capability::Program;

use crate::fixture::{PATIENCE, unix};

const LEN: u64 = 16_777_217;

fn options(tee: Option<PathBuf>) -> EchoOptions {
    EchoOptions {
        listen: "0".parse().unwrap(),
        workers: NonZeroUsize::MIN,
        tee,
        idle_timeout: None,
        grace: None,
        connections_max: None,
        metrics: None,
        log: Sink::Off,
    }
}

/// An echo server that runs until the process ends.
fn start(options: EchoOptions) -> Endpoint {
    let echo = Echo::bind(options).unwrap();
    let endpoint = echo.endpoint().clone();
    thread::spawn(move || echo.run().unwrap());
    endpoint
}

fn address(endpoint: &Endpoint) -> SocketAddr {
    let Endpoint::Tcp(address) = endpoint else { panic!("{endpoint} is TCP") };
    *address
}

fn round_trip(endpoint: &Endpoint, bytes: Vec<u8>) -> Vec<u8> {
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
    wanted.listen = unix(&path);
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
