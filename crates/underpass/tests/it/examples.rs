//! The examples do what they say, and no byte of a file passes user memory.
//!
//! Each example runs in a traced child, its peers in this process, untraced.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::thread::{self, JoinHandle};

use underpass_testkit::payload::{difference, pattern, patterned_file};
use underpass_testkit::skip::Capability;
use underpass_testkit::strace::{Call, Strace, bytes, is_inside, mark};
use underpass_testkit::{require, test_name};

#[path = "../../examples/proxy.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod proxy;
#[path = "../../examples/receive_file.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod receive_file;
#[path = "../../examples/send_file.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod send_file;

const LEN: u64 = 9_000_000;

/// What moves bytes between a socket and anything.
const MOVING: &str = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,sendfile,splice";

/// Runs the traced half of a test with a peer's address; returns its calls on TCP sockets.
fn traced(name: &str, address: &str) -> Vec<Call> {
    let strace = Strace::of_test(name).unwrap().only(MOVING).env("ADDRESS", address);
    let trace = strace.run().unwrap();
    trace.assert_success();
    let is_moving = |call: &&Call| {
        call.arguments.contains("<TCP:") && MOVING.split(',').any(|name| name == call.name)
    };
    trace.marked().iter().filter(is_moving).cloned().collect()
}

/// A peer that serves this many connections at an address.
fn peer<const N: usize, T: Send + 'static>(
    serve: impl FnOnce([TcpStream; N]) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = move || serve(std::array::from_fn(|_| listener.accept().unwrap().0));
    (address, thread::spawn(serve))
}

/// What an example does with a connection to its peer.
fn inside(example: impl AsyncFnOnce(tokio::net::TcpStream, String)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = std::env::var("ADDRESS").unwrap();
        let socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        mark();
        example(socket, address).await;
        mark();
    });
}

fn read_to_end(mut socket: &TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    socket.read_to_end(&mut got).unwrap();
    got
}

fn is_only(calls: &[Call], name: &str) -> bool {
    calls.iter().all(|call| call.name == name)
}

#[test]
fn send_file_is_sendfile_alone() {
    if is_inside() {
        let file = patterned_file(LEN).unwrap();
        return inside(async |socket, _| send_file::send(&file, &socket).await.unwrap());
    }
    require!(Capability::Strace);
    let (address, peer) = peer(|[socket]| read_to_end(&socket));
    let calls = traced(test_name!(), &address);
    assert_eq!(difference(&peer.join().unwrap(), 0, LEN), None);
    assert!(is_only(&calls, "sendfile"), "{calls:?}");
    assert_eq!(bytes(&calls, "sendfile"), LEN);
}

#[test]
fn receive_file_is_splice_alone() {
    if is_inside() {
        let file = tempfile::tempfile().unwrap();
        inside(async |socket, _| receive_file::receive(&socket, &file).await.unwrap());
        let mut got = vec![0; usize::try_from(LEN).unwrap()];
        file.read_exact_at(&mut got, 0).unwrap();
        return assert_eq!(difference(&got, 0, LEN), None);
    }
    require!(Capability::Strace);
    let (address, peer) = peer(|[mut socket]| socket.write_all(&pattern(0..LEN)).unwrap());
    let calls = traced(test_name!(), &address);
    peer.join().unwrap();
    assert!(is_only(&calls, "splice"), "{calls:?}");
    assert_eq!(bytes(&calls, "splice"), LEN);
}

#[test]
fn the_proxy_splices_both_ways_and_an_end_of_one_leaves_the_other() {
    if is_inside() {
        return inside(async |client, target| proxy::proxy(client, &target).await.unwrap());
    }
    require!(Capability::Strace);
    let (address, peer) = peer(|[mut client, mut target]| {
        let served = thread::spawn(move || {
            let got = read_to_end(&target);
            target.write_all(&pattern(0..LEN)).unwrap();
            got
        });
        client.write_all(&pattern(5..LEN)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        (read_to_end(&client), served.join().unwrap())
    });
    let calls = traced(test_name!(), &address);
    let (back, there) = peer.join().unwrap();
    assert_eq!(difference(&there, 5, LEN - 5), None);
    assert_eq!(difference(&back, 0, LEN), None);
    // Each byte goes into a pipe and out of it, but for the small reads between.
    let copied = bytes(&calls, "read");
    assert_eq!(bytes(&calls, "splice"), 2 * (2 * LEN - 5 - copied), "{copied} copied");
    assert!(copied < LEN / 4, "{copied} copied");
}
