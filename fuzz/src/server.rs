//! `serve` with a small directory, at a Unix socket, until the process ends.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use underpass_serve::access_log::Sink;
use underpass_serve::{Endpoint, Options, Server, Settings, SiteOptions};

use crate::{ignore_closed_pipes, place};

/// What `digits.txt` holds.
pub const DIGITS: &[u8] = b"0123456789";

/// How long an answer may take; no request waits for anything.
const PATIENCE: Duration = Duration::from_secs(8);

/// A connection to the server, which is started for the first one, changed so.
///
/// # Panics
///
/// If there is none.
pub fn connect(change: impl FnOnce(Server) -> Server) -> UnixStream {
    static SOCKET: OnceLock<PathBuf> = OnceLock::new();
    let peer = UnixStream::connect(SOCKET.get_or_init(|| start(change)));
    let peer = peer.expect("the server listens");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    peer.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    peer
}

fn start(change: impl FnOnce(Server) -> Server) -> PathBuf {
    ignore_closed_pipes();
    let root = place("root");
    fs::create_dir_all(root.join("folder")).expect("a folder");
    fs::write(root.join("digits.txt"), DIGITS).expect("a file");
    fs::write(root.join("empty.txt"), "").expect("a file");
    let digits = fs::File::options().append(true).open(root.join("digits.txt"));
    let modified = UNIX_EPOCH + Duration::from_secs(784_111_777);
    digits.expect("a file").set_modified(modified).expect("a date");
    let socket = place("server");
    let daemon = Settings {
        listen: vec![Endpoint::Unix(socket.clone())],
        workers: NonZeroUsize::MIN,
        grace: None,
        connections_max: None,
        connections_per_address: None,
        metrics: None,
        log: Sink::Off,
    };
    let server = Server::bind(Options { daemon, site: SiteOptions::new(root) });
    let server = change(server.expect("a server"));
    std::thread::spawn(move || server.run().expect("it serves"));
    socket
}
