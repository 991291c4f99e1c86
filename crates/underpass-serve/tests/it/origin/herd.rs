//! Many clients of one cold object: the origin is asked once, and each gets what has come.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;
use underpass_testkit::origin::Object;
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

use super::place::Place;

const LEN: u64 = 4 << 20;

/// Each has little room, so that the memory that counts is the server's.
async fn read_whole(place: Rc<(SocketAddr, Arc<Object>)>) {
    let (address, object) = &*place;
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let (mut room, mut head) = (vec![0; 8 << 10], Vec::new());
    while !head.ends_with(b"\r\n\r\n") {
        head.push(peer.read_u8().await.unwrap());
    }
    let mut at = 0;
    loop {
        let n = peer.read(&mut room).await.unwrap();
        if n == 0 {
            break;
        }
        assert_eq!(object.difference(at, &room[..n]), None);
        at += n as u64;
    }
    assert_eq!(at, LEN);
}

/// How many clients got all of it.
fn herd(place: &Place, clients: usize) -> usize {
    let object = place.put("/a", Object::new(LEN).cache_control("max-age=600"));
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.unwrap().block_on(async {
        let place: Rc<_> = Rc::new((place.server.address, object));
        let read = |_| spawn_local(read_whole(Rc::clone(&place)));
        let clients: Vec<_> = (0..clients).map(read).collect();
        let mut whole = 0;
        for client in clients {
            client.await.unwrap();
            whole += 1;
        }
        whole
    })
}

#[test]
fn many_clients_of_a_cold_object_cost_its_origin_one_request_and_each_byte_once() {
    let place = Place::new();
    place.origin.limit(Some(4 << 20));
    assert_eq!(herd(&place, 64), 64);
    assert_eq!((place.asked(), place.origin.content_bytes()), (1, LEN));
}

fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Alone in its process, as `cargo test NAME` runs it.
#[test]
fn a_thousand_clients_of_a_cold_object_take_less_than_100_mib() {
    require!(Capability::Long);
    let place = Arc::new(Place::new());
    place.origin.limit(Some(8 << 20));
    let before = anonymous_kib();
    let watched = Arc::clone(&place);
    let herd = std::thread::spawn(move || herd(&watched, 1_000));
    let mut most = before;
    while !herd.is_finished() {
        most = most.max(anonymous_kib());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(herd.join().unwrap(), 1_000);
    assert_eq!((place.asked(), place.origin.content_bytes()), (1, LEN));
    assert!(most - before < 100 << 10, "{} KiB", most - before);
}
