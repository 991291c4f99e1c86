//! The exchange of two ends, with a peer that says whatever the input says: a file gets its name
//! only if it is what the peer has sent, and nothing is left of one that is not.
//!
//! Input: which end this is (`r` receives, `s` sends; capitals listen), then what the peer says, a
//! line each: see [`Peer`].
#![no_main]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use underpass_copy::{Endpoint, Interrupt, Request, Session, Timeouts};
use underpass_fuzz::peer::{CONTENT, PATIENCE, Peer, listener};
use underpass_fuzz::{ignore_closed_pipes, place};

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|&byte| byte == b'\n');
    let Some(&[end @ (b'r' | b's' | b'R' | b'S')]) = lines.next() else { return };
    let script: Vec<&[u8]> = lines.collect();
    set_up();
    let (socket, file) = (place("socket"), place("folder/file"));
    for path in [&socket, &file] {
        drop(fs::remove_file(path));
    }
    let listener = end.is_ascii_lowercase().then(|| listener(&socket));
    let is_receiver = end.eq_ignore_ascii_case(&b'r');
    let request = request(is_receiver, listener.as_ref());
    let interrupt = Interrupt::never().expect("a socket pair");
    let session = Session::open(request, &interrupt, &mut |_| {}).expect("a session");
    let peer = Peer::new(socket, listener);
    let (copied, sent) = std::thread::scope(|scope| {
        let talk = scope.spawn(|| peer.play(&script));
        let copied = session.copy(&mut |_| {}).is_ok();
        (copied, talk.join().expect("the peer ends"))
    });
    if is_receiver {
        received(&file, copied, &sent);
    }
});

fn request(is_receiver: bool, listener: Option<&UnixListener>) -> Request {
    let scheme = if listener.is_some() { "unix" } else { "unix-listen" };
    let peer = Endpoint::parse(format!("{scheme}://{}", place("socket").display()).as_ref());
    let peer = peer.expect("an endpoint");
    let mut request = if is_receiver {
        Request::new(peer, Endpoint::Path(place("folder/file")))
    } else {
        Request::new(Endpoint::Path(place("source")), peer)
    };
    request.verify = true;
    request.parallel = 3.try_into().expect("not 0");
    request.timeouts = Timeouts { idle: Some(PATIENCE), connect: Some(PATIENCE) };
    request
}

/// What has its name is what was sent, and there is nothing else.
fn received(file: &Path, copied: bool, sent: &[(usize, Vec<u8>)]) {
    match fs::read(file) {
        Ok(content) => {
            assert!(copied, "a file of a failed copy has its name");
            for (at, byte) in content.iter().enumerate() {
                let is_it = |(from, bytes): &(usize, Vec<u8>)| {
                    at.checked_sub(*from).and_then(|at| bytes.get(at)) == Some(byte)
                };
                assert!(sent.iter().any(is_it), "byte {at} was not sent: {content:?} {sent:?}");
            }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(!copied, "a copy that succeeded has no file");
        }
    }
    let entries = fs::read_dir(place("folder")).expect("a folder");
    let left: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left.len(), usize::from(copied), "{left:?} is left");
}

/// What the sender sends, and where a receiver puts what it gets.
fn set_up() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        ignore_closed_pipes();
        fs::create_dir(place("folder")).expect("a folder");
        fs::write(place("source"), CONTENT).expect("a file");
    });
}
