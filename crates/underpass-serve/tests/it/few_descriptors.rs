//! More files than may be open at a time: each is served, however small the limit is.

use std::fs;
use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::process::Command;
use std::task::Poll;
use std::thread;

use underpass::Stability;
use underpass_serve::root::Root;
use underpass_serve::service::Service;
use underpass_serve::stations::Asked;
use underpass_testkit::test_name;

use crate::fixture::Fixture;

/// Set in the process whose limit is small.
const INSIDE: &str = "UNDERPASS_FEW_DESCRIPTORS";

/// Runs a test once more in a process that may have `limit` descriptors. `true` inside it.
fn is_within(limit: u32, test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let limited = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
    let own = std::env::current_exe().unwrap();
    let mut child = Command::new("sh");
    child.args(["-c", &limited]).arg(own).args(["--exact", test, "--nocapture"]);
    let output = child.env(INSIDE, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    false
}

/// A tree of files with their names as contents.
fn tree(files: usize) -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    for name in 0..files {
        fs::write(tree.path().join(name.to_string()), name.to_string()).unwrap();
    }
    tree
}

/// Asks for every `step`th file from the `first` on, twice, on one connection.
fn ask_for_all(server: SocketAddr, files: usize, (first, step): (usize, usize)) {
    let mut peer = BufReader::new(TcpStream::connect(server).unwrap());
    for name in [0, 1].iter().flat_map(|_| (first..files).step_by(step)) {
        let name = name.to_string();
        // In one packet: a part of it would wait for the acknowledgement of another.
        let request = format!("GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n");
        peer.get_mut().write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(peer.read_line(&mut head).unwrap(), 0, "cut at {name}: {head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{name}: {head}");
        let mut content = vec![0; name.len()];
        peer.read_exact(&mut content).unwrap();
        assert_eq!(content, name.as_bytes());
    }
}

fn serve_all(files: usize, clients: usize) {
    let tree = tree(files);
    let server = Fixture::serve(tree.path().into());
    let settled = || server.etag("/0").starts_with('"').then_some(());
    underpass_testkit::wait::until(std::time::Duration::from_secs(10), settled).unwrap();
    thread::scope(|scope| {
        for client in 0..clients {
            scope.spawn(move || ask_for_all(server.address, files, (client, clients)));
        }
    });
}

#[test]
fn three_thousand_files_are_served_twice_with_1024_descriptors() {
    if is_within(1024, test_name!()) {
        serve_all(3_000, 2);
    }
}

#[test]
fn five_hundred_files_are_served_twice_with_64_descriptors() {
    if is_within(64, test_name!()) {
        serve_all(500, 6);
    }
}

#[test]
fn a_request_without_a_descriptor_left_waits_for_one() {
    if !is_within(64, test_name!()) {
        return;
    }
    let tree = tree(1);
    let root = Root::open(tree.path()).unwrap();
    let service = Service::new(root, NonZeroUsize::MIN, Stability::Guard);
    let request = http::Request::get("/0").header("host", "x").body(()).unwrap().into_parts().0;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut held = vec![];
        while let Ok(file) = fs::File::open("/dev/null") {
            held.push(file);
        }
        let asked = Asked { head: &request, client: None, server_name: None, https_port: None };
        let mut answer = pin!(service.respond(&asked));
        poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).is_pending().then_some(())))
            .await
            .expect("it waits");
        held.clear();
        assert_eq!(answer.await.status, 200);
    });
}
